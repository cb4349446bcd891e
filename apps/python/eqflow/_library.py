"""The shared library: found, loaded at first need, its functions typed, its errors raised."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import pathlib
import signal
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


class _Report:
    """What a long call tells while it works, about four times a second, and what it is told: shall it stop?"""

    def __init__(self) -> None:
        self.progress: Optional["Progress"] = None
        self.is_interrupted = False

    def __call__(self, _user: Any, state: Any) -> int:
        if self.progress is not None:
            self.progress.to(state.contents.done, state.contents.total, (state.contents.stage or b"").decode())
        return int(self.is_interrupted)


class _Interrupts:
    """SIGINT while the library works: notes it, so that the call is asked to stop, and hands it to Python's handler afterwards. Python itself looks
    for signals only between its own instructions, and what a handler raises inside a callback from C would be lost."""

    def __init__(self, report: _Report):
        self._report, self._handler, self._frame = report, None, None

    def _note(self, _number: int, frame: Any) -> None:
        self._report.is_interrupted, self._frame = True, frame

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: Any) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._report.is_interrupted:
                self._handler(signal.SIGINT, self._frame)


class Context:
    """A device with its queue and programs. Threads take turns: a second one waits until the first one's call has ended. Close it, or use it as a
    context manager.

    device: as `eqflow --device`: "auto", "cpu", "gpu", an index, or a part of a name; None is $EQFLOW_DEVICE, else auto.
    profile: values of the device profile for experiments, such as {"vector_width": 1}."""

    def __init__(self, device: Optional[str] = None, profile: Optional[dict[str, Any]] = None):
        lib = library()
        self._pointer = ctypes.POINTER(declarations.eqf_context)()
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._report = _Report()
        self._callback = declarations.eqf_progress_callback(self._report)  # kept: the library has its address
        options = initial(declarations.eqf_context_options)
        status = lib.eqf_context_create(options, self._pointer)
        check_status(status)
        self.check(lib.eqf_context_set_progress(self._pointer, self._callback, None))
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
            with self._lock:
                if not self._is_open:
                    self.check(library().eqf_context_open_device(pointer, self._selector))
                    self._is_open = True
        return pointer

    def call(self, function: Any, *arguments: Any, progress: Optional["Progress"] = None) -> None:
        """function(*arguments), alone on this context; raises what it says if it fails. Ctrl-C ends it."""
        with self._lock:
            report = self._report
            report.progress, report.is_interrupted = progress, False
            with _Interrupts(report):
                status = function(*arguments)
            self.check(status)

    def check(self, status: int) -> None:
        """Raises what the last call said if it failed."""
        if status == 0:
            return
        line = library().eqf_context_error(self._pointer)
        kind = Interrupted if status == declarations.EQF_ERROR_INTERRUPTED else EqflowError
        raise kind(line.decode("utf-8", "replace") if line else _text(status), status, _name(status))

    def close(self) -> None:
        if self._pointer and os.getpid() == self._pid:  # a child of fork has no right to it, and the lock may be held there for ever
            with self._lock:
                library().eqf_context_destroy(self._pointer)
        self._pointer = ctypes.POINTER(declarations.eqf_context)()

    def __del__(self) -> None:
        """A thread's context ends with its thread, or with what was made from it if that lives longer."""
        try:
            self.close()
        except Exception:  # the interpreter may be ending, or the context was never made
            pass

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


def check_status(status: int) -> None:
    """For functions without a context."""
    if status != 0:
        raise EqflowError(_text(status), status, _name(status))


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


def host_array(x: Any) -> NDArray:
    """x as a NumPy array without a copy where that can be: NumPy's own, what has __array__ or __array_interface__, or DLPack of the host's memory."""
    if not isinstance(x, np.ndarray) and hasattr(x, "__dlpack__") and not (hasattr(x, "__array__") or hasattr(x, "__array_interface__")):
        return np.from_dlpack(x)
    return np.asarray(x)


def configurations(x: ArrayLike, num_particles: int, space_dim: int) -> tuple[NDArray[np.float32], bool]:
    """x as float32 [B, N, D], C order; True if it was one configuration [N, D]."""
    array = host_array(x)
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise ValueError("configurations are arrays of real numbers")
    is_single = array.shape == (num_particles, space_dim)
    if is_single:
        array = array[None]
    elif array.ndim == 2 and array.shape[1] == num_particles * space_dim:
        array = array.reshape(-1, num_particles, space_dim)
    if array.ndim != 3 or array.shape[1:] != (num_particles, space_dim):
        raise ValueError(f"configurations of shape {host_array(x).shape}: expected [B, {num_particles}, {space_dim}]")
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
    """A bar on stderr if `show` is true and tqdm is there; else nothing."""

    def __init__(self, label: str, show: bool):
        self._label, self._bar, self._make = label, None, None
        if show:
            try:
                from tqdm.auto import tqdm

                self._make = tqdm
            except ImportError:
                pass

    def to(self, done: float, total: float, note: str = "") -> None:
        if self._make is None:
            return
        if self._bar is None:
            self._bar = self._make(total=100, desc=self._label, leave=False, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}")
        self._bar.n = round(100 * done / total, 1) if total > 0 else 0
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
