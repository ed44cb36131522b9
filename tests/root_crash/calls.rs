// SPDX-License-Identifier: Apache-2.0
//! What is known of system calls: their names, which of them change something, and how each can fail.

use nix::errno::Errno::{self, EACCES, EINTR, EIO, EMFILE, ENOMEM, ENOSPC, EROFS};
use nix::libc::{self, c_long};

use super::trace::Call;

pub const ERRORS: [Errno; 7] = [ENOSPC, EIO, EACCES, EROFS, ENOMEM, EINTR, EMFILE];

macro_rules! names {
    ($($name:ident $number:ident,)*) => {
        /// As in the manual; its number where it is none of those that were seen.
        pub fn name(number: c_long) -> String {
            match number {
                $(libc::$number => stringify!($name).to_string(),)*
                _ => number.to_string(),
            }
        }
    };
}

names! {
    read SYS_read, write SYS_write, open SYS_open, close SYS_close, stat SYS_stat, fstat SYS_fstat, lstat SYS_lstat,
    poll SYS_poll, lseek SYS_lseek, mmap SYS_mmap, mprotect SYS_mprotect, munmap SYS_munmap, brk SYS_brk,
    rt_sigaction SYS_rt_sigaction, rt_sigprocmask SYS_rt_sigprocmask, rt_sigreturn SYS_rt_sigreturn, ioctl SYS_ioctl,
    pread64 SYS_pread64, pwrite64 SYS_pwrite64, access SYS_access, pipe2 SYS_pipe2, dup2 SYS_dup2, alarm SYS_alarm,
    getpid SYS_getpid, socket SYS_socket, connect SYS_connect, sendto SYS_sendto, sendmsg SYS_sendmsg,
    recvfrom SYS_recvfrom, socketpair SYS_socketpair, clone SYS_clone, clone3 SYS_clone3, vfork SYS_vfork,
    execve SYS_execve, wait4 SYS_wait4, waitid SYS_waitid, kill SYS_kill, fcntl SYS_fcntl, flock SYS_flock,
    fsync SYS_fsync, fdatasync SYS_fdatasync, ftruncate SYS_ftruncate, rename SYS_rename, link SYS_link,
    unlink SYS_unlink, symlink SYS_symlink, readlink SYS_readlink, chmod SYS_chmod, fchmod SYS_fchmod, chown SYS_chown,
    fchown SYS_fchown, umask SYS_umask, geteuid SYS_geteuid, getuid SYS_getuid, getgid SYS_getgid, gettid SYS_gettid,
    chroot SYS_chroot, chdir SYS_chdir, statfs SYS_statfs, fstatfs SYS_fstatfs, arch_prctl SYS_arch_prctl,
    prctl SYS_prctl, setxattr SYS_setxattr, getxattr SYS_getxattr, listxattr SYS_listxattr, futex SYS_futex,
    sched_getaffinity SYS_sched_getaffinity, set_tid_address SYS_set_tid_address, getdents64 SYS_getdents64,
    exit_group SYS_exit_group, openat SYS_openat, mkdirat SYS_mkdirat, fchownat SYS_fchownat,
    newfstatat SYS_newfstatat, unlinkat SYS_unlinkat, renameat SYS_renameat, symlinkat SYS_symlinkat,
    readlinkat SYS_readlinkat, fchmodat SYS_fchmodat, faccessat2 SYS_faccessat2, utimensat SYS_utimensat,
    set_robust_list SYS_set_robust_list, prlimit64 SYS_prlimit64, getrandom SYS_getrandom, statx SYS_statx,
    rseq SYS_rseq, openat2 SYS_openat2, sigaltstack SYS_sigaltstack, setuid SYS_setuid, setgid SYS_setgid,
    setsockopt SYS_setsockopt, getsockopt SYS_getsockopt, getsockname SYS_getsockname, bind SYS_bind,
}

/// Whether anything outside of the process is another after the call. Killed before one that changes nothing, a program
/// leaves what it leaves when it is killed before the next that does.
pub fn changes(call: &Call) -> bool {
    let writes = |flags: u64| flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
    match call.at.number {
        libc::SYS_open => writes(call.arguments[1]),
        libc::SYS_openat => writes(call.arguments[2]),
        libc::SYS_fcntl => {
            let command = call.arguments[1] as i32;
            [libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_SETLK, libc::F_OFD_SETLKW].contains(&command)
        }
        number => CHANGING.contains(&number),
    }
}

const CHANGING: [c_long; 49] = [
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
    libc::SYS_creat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_utimensat,
    libc::SYS_flock,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_execve,
    libc::SYS_kill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// How the call is made to fail: in all seven ways, but for calls of which the kernel promises more than the manual's
/// list of errors. What is not here cannot fail with a valid argument, and does so nowhere.
pub fn errors(number: c_long) -> &'static [Errno] {
    match number {
        // The program's end, what it is and who it is.
        libc::SYS_exit | libc::SYS_exit_group | libc::SYS_rt_sigreturn => &[],
        libc::SYS_getpid | libc::SYS_gettid | libc::SYS_getppid => &[],
        libc::SYS_getuid | libc::SYS_geteuid | libc::SYS_getgid | libc::SYS_getegid => &[],
        // Of the process's own state: only a wrong argument is an error.
        libc::SYS_umask | libc::SYS_alarm | libc::SYS_arch_prctl | libc::SYS_prlimit64 => &[],
        libc::SYS_rt_sigaction | libc::SYS_rt_sigprocmask => &[],
        libc::SYS_set_tid_address | libc::SYS_set_robust_list | libc::SYS_rseq => &[],
        // Tells no error but where the heap ends; what it leads to, mmap has.
        libc::SYS_brk => &[],
        libc::SYS_sigaltstack | libc::SYS_sched_getaffinity => &[ENOMEM],
        libc::SYS_clone | libc::SYS_clone3 | libc::SYS_fork | libc::SYS_vfork => &[ENOMEM],
        libc::SYS_poll | libc::SYS_ppoll => &[EINTR, ENOMEM],
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_futex => &[EINTR],
        _ => &ERRORS,
    }
}
