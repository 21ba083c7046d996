#!/bin/bash
# host.sh FOLDER NAME: PID 1 of one host. Of the machine it sees /usr and Python, neither of which it can write to.
# Its folders /etc, /root, /srv, /tmp and /var are those below FOLDER; its Python environment is /opt/environment.
set -e
folder=$1
mount --make-rprivate /
hostname "$2"
new=$folder/.new
mkdir -p "$new"
mount -t tmpfs -o mode=755 tmpfs "$new"
mkdir -p "$new"/{dev,etc,old,opt/python,proc,root,run,srv,sys,tmp,usr,var}
for link in bin sbin lib lib32 lib64; do if [ -L "/$link" ]; then ln -s "usr/$link" "$new/$link"; fi; done
mount --rbind /usr "$new/usr" && mount -o remount,bind,ro "$new/usr"
mount --bind "$HOST_PYTHON" "$new/opt/python" && mount -o remount,bind,ro "$new/opt/python"
for name in etc root srv tmp var; do mkdir -p "$folder/$name" && mount --bind "$folder/$name" "$new/$name"; done
mkdir -p "$new/opt/environment/lib/$HOST_VERSION/site-packages"
mount --bind "$HOST_LIBRARIES" "$new/opt/environment/lib/$HOST_VERSION/site-packages"
mount -o remount,bind,ro "$new/opt/environment/lib/$HOST_VERSION/site-packages"
mount -t tmpfs -o mode=755 tmpfs "$new/dev"
for name in null zero full random urandom tty; do touch "$new/dev/$name" && mount --bind "/dev/$name" "$new/dev/$name"; done
mkdir "$new/dev/shm" && mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
ln -s /proc/self/fd "$new/dev/fd"
mount -t proc proc "$new/proc"
cd "$new" && pivot_root . old && umount -l old && rmdir old
chmod 1777 /tmp
mkdir -p /opt/environment/bin
for name in python python3; do ln -s "/opt/python/bin/$HOST_VERSION" "/opt/environment/bin/$name"; done
printf 'home = /opt/python/bin\ninclude-system-site-packages = false\n' > /opt/environment/pyvenv.cfg
printf '127.0.0.1 localhost\n' > /etc/hosts
printf 'root:x:0:0:root:/root:/bin/bash\n' > /etc/passwd
printf 'root:x:0:\n' > /etc/group
printf '/opt/python/lib\n' > /etc/ld.so.conf && PATH=$PATH:/usr/sbin ldconfig  # where Python is a shared library
exec -a "host-$2" bash -c "while true; do sleep infinity & wait; done"  # it waits for children of processes that ended, too
