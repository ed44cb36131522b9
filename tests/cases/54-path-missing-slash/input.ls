drwxr-xr-x 4 root root 4096 Jan 10 10:00 /var/lib/cni
drwxrwxr-x 2 qemu qemu 4096 Jan 10 10:00 /var/lib/cni/sockdir
