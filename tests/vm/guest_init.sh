#!/bin/busybox sh
# PID 1 of the virtual machine. First pass, from the initial file system: moves to a tmpfs, because pivot_root(2) refuses
# the initial one. Second pass: a host with nothing but cgroup v2, as systemd leaves it; runs the tests; powers off.
# Results go to the second serial port, so that the kernel's own messages do not mix with them.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
if [ "$1" != second ]; then
  /bin/busybox mkdir -p /new
  /bin/busybox mount -t tmpfs -o size=80% root /new
  for entry in /*; do
    [ "$entry" = /new ] || /bin/busybox cp -a "$entry" /new/
  done
  exec /bin/busybox switch_root /new /init second
fi

/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /run /var/tmp /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
ln -sf pts/ptmx /dev/ptmx
mount -t tmpfs shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
chmod 1777 /tmp /var/tmp
mount -t cgroup2 none /sys/fs/cgroup
for module in /modules/*.ko; do insmod "$module" 2>/dev/null; done
ip link set lo up
hostname davit-vm
# The controllers are handed down from the root, and the shell moves out of it, as an init system does.
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
mkdir /sys/fs/cgroup/init.scope
echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs

exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 -opost 2>/dev/null
echo "kernel $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
export DAVIT_BIN=/davit/bin DAVIT_RUNTIME=/davit/bin/davit-runtime PYTHONDONTWRITEBYTECODE=1 PY_COLORS=0 GTEST_COLOR=no HOME=/root
status=0
cd /davit
while read -r file arguments; do
  echo "== $file $arguments"
  case $file in
    *.py) program="/usr/bin/python3 tools/run_python_test.py $file" ;;
    *) program=./$file ;;
  esac
  # shellcheck disable=SC2086
  timeout 240 $program $arguments
  code=$?
  echo "== $file: exit $code"
  [ $code = 0 ] || [ $code = 77 ] || status=1
done </davit/list
echo "DAVIT-VM exit $status"
sync
poweroff -f
