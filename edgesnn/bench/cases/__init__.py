"""One module a family of benchmarks; each registers what it measures with `edgesnn.bench.benchmark`."""
