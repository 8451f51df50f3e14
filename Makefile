# Every target works on a fresh clone: each first makes .venv, with every extra, from constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
EMULATORS := qemu-system-arm qemu-system-riscv32 qemu-aarch64 qemu-arm
TYPED  := build/typed

# Workers of the test run each use one core; more threads only fight over them, and make float sums differ.
export OMP_NUM_THREADS ?= 1

.PHONY: install emulator demo test test-long lint bench docs clean

install: $(STAMP) emulator

$(STAMP): pyproject.toml setup.py constraints.txt
	@echo "installing into $(VENV) (a few minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[train,tvm,mcu,data,events,serial,tensorboard,dev]'
	touch $@

# Boards are emulated; Debian's packages are used where they can be installed without asking.
emulator:
	@if (for tool in $(EMULATORS); do command -v $$tool >/dev/null || exit 1; done); then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends qemu-system-arm qemu-system-misc \
			qemu-user; \
	else echo "edgesnn: emulated boards need $(EMULATORS); install the packages of your system that hold them" >&2; fi

demo: install
	$(BIN)/edgesnn demo -o out/demo $(ARGS)

test: install
	$(BIN)/pytest -n 2 $(ARGS)

test-long: install
	$(BIN)/pytest -n 2 -m "" $(ARGS)

# mypy does not follow package-dir, so it is shown the packages where an install puts them.
lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $$(find runtime/c -name '*.[ch]')
	rm -rf $(TYPED) && mkdir -p $(TYPED)/edgesnn
	ln -s $(CURDIR)/edgesnn/* $(CURDIR)/export $(CURDIR)/runtime $(CURDIR)/boards $(TYPED)/edgesnn/
	cd $(TYPED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml -p edgesnn

bench: install
	$(BIN)/edgesnn bench all --json out/bench

docs: install
	$(BIN)/python -P docs/api.py

clean:
	rm -rf $(VENV) build dist out edgesnn.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
