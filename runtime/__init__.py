"""What runs an exported model: sessions over several backends, streams, and the state a device keeps.

`open(directory, backend=...)` gives one interface (`Session`) over `reference`, `ort`, `tvm`, `native` and `board`.
Nothing below this package imports torch.
"""

from __future__ import annotations

from edgesnn.runtime.backends import BACKENDS, open_session
from edgesnn.runtime.model import Model
from edgesnn.runtime.session import Session

open = open_session  # noqa: A001 - the documented name is edgesnn.runtime.open

__all__ = ["BACKENDS", "Model", "Session", "open"]
