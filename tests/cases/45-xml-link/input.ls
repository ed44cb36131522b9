lrwxrwxrwx 1 root root 29 Jul 1 10:00 /tmp/vm_b.sock -> /tmp/forwarder2.sock
