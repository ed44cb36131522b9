QEMU waiting for connection on: unix:/opt/run/vhost-user-client4,server
