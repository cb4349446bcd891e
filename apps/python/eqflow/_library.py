"""The shared library: found, loaded at first need, its functions typed, its errors raised."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import pathlib
import threading
from typing import Any, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _declarations as declarations

_lock = threading.Lock()
_loaded: Optional[ctypes.CDLL] = None
_contexts = threading.local()


class EqflowError(Exception):
    """What the library refused or could not do: its line, and the status it has for programs."""

    def __init__(self, message: str, status: int = 0, name: str = ""):
        super().__init__(message)
        self.status = status
        self.name = name


class Interrupted(EqflowError, KeyboardInterrupt):
    """A long call was asked to stop (Ctrl-C, or a callback that returned True)."""


def _find() -> str:
    named = os.environ.get("EQFLOW_LIBRARY")
    if named:
        return named
    here = pathlib.Path(__file__).parent
    for pattern in ("libeqflow.so*", "lib/libeqflow.so*", "lib/*/libeqflow.so*", "libeqflow*.dylib", "lib/libeqflow*.dylib"):
        found = sorted(here.glob(pattern))
        if found:
            return str(found[0])
    system = ctypes.util.find_library("eqflow")
    if system:
        return system
    raise EqflowError("libeqflow was not found: install the wheel (pip install ./apps/python), or set EQFLOW_LIBRARY to the shared library")


def library() -> ctypes.CDLL:
    """The shared library with every public function typed as in the headers."""
    global _loaded
    with _lock:
        if _loaded is None:
            path = _find()
            try:
                loaded = ctypes.CDLL(path)
            except OSError as error:
                raise EqflowError(f"{path} could not be loaded: {error}; an OpenCL loader (Debian: ocl-icd-libopencl1) and CLBlast must be there") from None
            for name, (result, arguments) in declarations.FUNCTIONS.items():
                function = getattr(loaded, name)
                function.restype, function.argtypes = result, arguments
            _loaded = loaded
    return _loaded


def initial(struct_type: Any) -> Any:
    """A struct as its EQF_..._INIT makes it."""
    size, _, init = declarations.LAYOUTS[struct_type.__name__]
    if not init:
        return struct_type()
    return struct_type.from_buffer_copy(bytes.fromhex(init))


class Context:
    """A device with its queue and programs. One thread at a time; close it, or use it as a context manager.

    device: as `eqflow --device`: "auto", "cpu", "gpu", an index, or a part of a name; None is $EQFLOW_DEVICE, else auto.
    profile: values of the device profile for experiments, such as {"vector_width": 1}."""

    def __init__(self, device: Optional[str] = None, profile: Optional[dict[str, Any]] = None):
        lib = library()
        self._pointer = ctypes.POINTER(declarations.eqf_context)()
        self._pid = os.getpid()
        options = initial(declarations.eqf_context_options)
        status = lib.eqf_context_create(options, self._pointer)
        if status != 0:
            raise EqflowError(_text(status), status, _name(status))
        for key, value in (profile or {}).items():
            self.check(lib.eqf_context_set_profile(self._pointer, f"{key}={value}".encode()))
        self._selector = device.encode() if device is not None else None
        self._is_open = False

    @property
    def pointer(self) -> Any:
        """For calls that need no device."""
        if not self._pointer:
            raise EqflowError("this context is closed")
        if os.getpid() != self._pid:
            raise EqflowError("an OpenCL context does not survive fork: make it, and what uses it, in the child (multiprocessing: method 'spawn')")
        return self._pointer

    @property
    def device(self) -> Any:
        """For calls on the device, which is opened at the first of them."""
        pointer = self.pointer
        if not self._is_open:
            self.check(library().eqf_context_open_device(pointer, self._selector))
            self._is_open = True
        return pointer

    def check(self, status: int) -> None:
        """Raises what the last call said if it failed."""
        if status == 0:
            return
        line = library().eqf_context_error(self._pointer)
        kind = Interrupted if status == declarations.EQF_ERROR_INTERRUPTED else EqflowError
        raise kind(line.decode("utf-8", "replace") if line else _text(status), status, _name(status))

    def close(self) -> None:
        if self._pointer and os.getpid() == self._pid:
            library().eqf_context_destroy(self._pointer)
        self._pointer = ctypes.POINTER(declarations.eqf_context)()

    def __enter__(self) -> "Context":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def default_context() -> Context:
    """This thread's context on the default device."""
    context = getattr(_contexts, "context", None)
    if context is None or context._pid != os.getpid() or not context._pointer:
        context = _contexts.context = Context()
    return context


def _text(status: int) -> str:
    return library().eqf_status_text(status).decode()


def _name(status: int) -> str:
    return library().eqf_status_name(status).decode()


# ---- Arrays ----------------------------------------------------------------------------------------------------------


def floats(values: Any) -> Any:
    """The pointer of a C-contiguous float32 array; None stays None."""
    return None if values is None else values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def doubles(values: Any) -> Any:
    return None if values is None else values.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def configurations(x: ArrayLike, num_particles: int, space_dim: int) -> tuple[NDArray[np.float32], bool]:
    """x as float32 [B, N, D], C order; True if it was one configuration [N, D]."""
    array = np.asarray(x)
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise ValueError("configurations are arrays of real numbers")
    is_single = array.shape == (num_particles, space_dim)
    if is_single:
        array = array[None]
    elif array.ndim == 2 and array.shape[1] == num_particles * space_dim:
        array = array.reshape(-1, num_particles, space_dim)
    if array.ndim != 3 or array.shape[1:] != (num_particles, space_dim):
        raise ValueError(f"configurations of shape {np.asarray(x).shape}: expected [B, {num_particles}, {space_dim}]")
    return np.ascontiguousarray(array, dtype=np.float32), is_single


def centred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x [B, N, D] about each configuration's centre of mass, in double and in the order in which the program does it when it reads a file."""
    wide = x.astype(np.float64)
    total = np.zeros((len(x), x.shape[2]))
    for i in range(x.shape[1]):
        total += wide[:, i]
    return np.ascontiguousarray((wide - (total / x.shape[1])[:, None]).astype(np.float32))


def unbatch(values: NDArray, is_single: bool) -> Any:
    return values[0] if is_single else values


# ---- Progress --------------------------------------------------------------------------------------------------------


class Progress:
    """A bar on stderr if tqdm is there and `show` is true; else nothing."""

    def __init__(self, total: float, label: str, show: bool):
        self._bar = None
        if show:
            try:
                from tqdm.auto import tqdm

                self._bar = tqdm(total=total, desc=label, leave=False)
            except ImportError:
                pass

    def to(self, done: float, note: str = "") -> None:
        if self._bar is not None:
            self._bar.n = done
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
