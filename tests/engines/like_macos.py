"""Runs a module in a process without what only Linux has, as far as Python can take it away.

``python like_macos.py MODULE ARGUMENTS``. It is no Mac: the libraries are those of Linux.
"""

import ctypes
import errno
import fcntl
import importlib
import os
import platform
import runpy
import select
import signal
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from typing import Any

# By the availability that Python's documentation states.
ONLY_LINUX = {
    os: """
        sched_getaffinity sched_setaffinity sched_getscheduler sched_setscheduler pidfd_open
        memfd_create eventfd eventfd_read eventfd_write splice copy_file_range getrandom
        posix_fadvise posix_fallocate fdatasync setns unshare getxattr setxattr listxattr
        removexattr pipe2 getresuid getresgid setresuid setresgid waitid waitid_result
        O_TMPFILE O_PATH O_DIRECT O_NOATIME O_LARGEFILE O_RSYNC P_PID P_PIDFD P_ALL
    """,
    signal: "SIGPWR SIGSTKFLT SIGPOLL SIGRTMIN SIGRTMAX sigtimedwait sigwaitinfo pidfd_send_signal",
    select: "epoll",
    fcntl: "F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_GET_SEALS F_OFD_SETLK F_NOTIFY",
    socket: """
        SOCK_CLOEXEC SOCK_NONBLOCK TCP_USER_TIMEOUT TCP_KEEPIDLE TCP_QUICKACK TCP_CORK
        TCP_DEFER_ACCEPT TCP_CONGESTION SO_PEERCRED SO_PASSCRED SO_DOMAIN SO_PROTOCOL SO_MARK
        SO_BINDTODEVICE SO_INCOMING_CPU AF_PACKET AF_NETLINK AF_VSOCK AF_ALG MSG_NOSIGNAL MSG_MORE
        MSG_ERRQUEUE MSG_CMSG_CLOEXEC
    """,
}
ONLY_LINUX_C = frozenset(("prctl", "renameat2", "gettid", "memfd_create", "epoll_create"))
KERNEL = ("/proc/", "/sys/")


def hide_the_kernels_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(KERNEL):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(arguments[0]))


def without_the_kernels_files(status: Callable[..., os.stat_result]) -> Callable[..., Any]:
    """``os.stat``, which audit hooks do not see."""

    def checked(path: Any, **options: Any) -> os.stat_result:
        hide_the_kernels_files("open", (path,))
        return status(path, **options)

    return checked


class Library(ctypes.CDLL):
    """A library whose names that only Linux has are missing."""

    def __getattr__(self, name: str) -> Any:
        if name in ONLY_LINUX_C:
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        return super().__getattr__(name)


def become_like_macos() -> None:
    # Python reads these from files that are there on their own platform alone.
    sysconfig.get_config_vars()
    importlib.import_module("urllib.request")
    for module, names in ONLY_LINUX.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    vars(tempfile)["_O_TMPFILE_WORKS"] = False  # it has looked for it when it was imported
    ctypes.CDLL = Library  # type: ignore[misc]
    sys.platform = "darwin"
    system = os.uname()
    darwin = os.uname_result(("Darwin", system[1], "24.0.0", "Darwin Kernel", "arm64"))
    os.uname = lambda: darwin
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"
    platform.processor = lambda: "arm"
    os.stat, os.lstat = without_the_kernels_files(os.stat), without_the_kernels_files(os.lstat)
    sys.addaudithook(hide_the_kernels_files)


if __name__ == "__main__":
    del sys.argv[0], sys.path[0]
    become_like_macos()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
