#!/bin/bash
# switch.sh FOLDER NAME=ADDRESS...: hosts that share a network and nothing else, until this process ends.
# Started as PID 1 of new network, mount and PID namespaces: the hosts end with it. This network namespace is the switch.
set -e
folder=$1 here=$(dirname "$0"); shift
mount --make-rprivate / && mount -t proc proc /proc
ip link set lo up
ip link add switch type bridge
ip link set switch up
for host in "$@"; do
    name=${host%=*}
    unshare --mount --uts --ipc --net --pid --fork --kill-child bash "$here/host.sh" "$folder/$name" "$name" &
    ip link add "$name" type veth peer name cable
    ip link set "$name" master switch up
    until init=$(cat "/proc/$!/task/$!/children") && [ -n "$init" ]; do sleep 0.05; done
    ip link set cable netns "${init%% *}"
    nsenter -t "${init%% *}" -n sh -c "ip link set lo up; ip addr add ${host#*=}/24 dev cable; ip link set cable up"
done
touch "$folder/up"
wait
