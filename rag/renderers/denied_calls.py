"""Calls of the Linux kernel that a reading process is refused, by their numbers.

What is not here is allowed: what libraries ask for differs from one version to the next, and what
lets code out of a process does not. Source: include/uapi/asm-generic/unistd.h and
arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

SECCOMP = {"x86_64": 317, "aarch64": 277}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435

_NETWORK = {
    # socket, connect, accept, bind, listen, socketpair, accept4
    "x86_64": {41, 42, 43, 49, 50, 53, 288},
    "aarch64": {198, 203, 202, 200, 201, 199, 242},
}
# io_uring_setup, io_uring_enter, io_uring_register: they do what this list refuses, unseen by it.
_UNSEEN = {425, 426, 427}
_OTHER_PROCESSES = {
    # ptrace, process_vm_readv, process_vm_writev, kcmp, setsid, setpgid; pidfd_getfd below
    "x86_64": {101, 310, 311, 312, 112, 109},
    "aarch64": {117, 270, 271, 272, 157, 154},
}
_PIDFD_GETFD = {438}
_FILE_SYSTEMS = {
    # mount, umount2, pivot_root, chroot, quotactl, name_to_handle_at, open_by_handle_at, acct,
    # swapon, swapoff
    "x86_64": {165, 166, 155, 161, 179, 303, 304, 163, 167, 168},
    "aarch64": {40, 39, 41, 51, 60, 264, 265, 89, 224, 225},
}
# open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
_MOUNTS = {428, 429, 430, 431, 432, 433, 442}
_KERNEL = {
    # unshare, setns, bpf, perf_event_open, userfaultfd, add_key, request_key, keyctl, kexec_load,
    # kexec_file_load, init_module, finit_module, delete_module, reboot
    "x86_64": {272, 308, 321, 298, 323, 248, 249, 250, 246, 320, 175, 313, 176, 169},
    "aarch64": {97, 268, 280, 241, 282, 217, 218, 219, 104, 294, 105, 273, 106, 142},
}
_MACHINE = {
    # sethostname, setdomainname, settimeofday, clock_settime, clock_adjtime, adjtimex; and on
    # x86_64 iopl, ioperm
    "x86_64": {170, 171, 164, 227, 305, 159, 172, 173},
    "aarch64": {161, 162, 170, 112, 266, 171},
}
DENIED = {
    machine: frozenset(
        _NETWORK[machine]
        | _UNSEEN
        | _OTHER_PROCESSES[machine]
        | _PIDFD_GETFD
        | _FILE_SYSTEMS[machine]
        | _MOUNTS
        | _KERNEL[machine]
        | _MACHINE[machine]
    )
    for machine in ("x86_64", "aarch64")
}
# execve, execveat; and on x86_64 fork, vfork. `clone` is asked for its flags.
PROGRAMS = {"x86_64": frozenset({59, 322, 57, 58}), "aarch64": frozenset({221, 281})}
