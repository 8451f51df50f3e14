"""The hash that ties graphs, generated C and saved states to one model."""

from __future__ import annotations

import hashlib

import onnx

#: Metadata keys that hold hashes and are left out of the hashed content.
SOURCE_HASH, CONTENT_HASH = "edgesnn.source_hash", "edgesnn.content_hash"


def content_hash(proto: onnx.ModelProto) -> str:
    """SHA-256 (hex) of a graph's serialized content without its own hash entries."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    kept = [entry for entry in bare.metadata_props if entry.key not in (SOURCE_HASH, CONTENT_HASH)]
    del bare.metadata_props[:]
    bare.metadata_props.extend(kept)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
