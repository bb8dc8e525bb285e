# A container whose first process is systemd, with this machine's programs and the packaged unit, beside a server.
# sh nspawn.sh SCRATCH RESULT NSPAWN WRAPWATCH UNIT SERVER; in a mount namespace of its own, which all of it goes with.
set -e
scratch=$1 result=$2 nspawn=$3 wrapwatch=$4 unit=$5 server=$6
mount -t tmpfs tmpfs "$scratch"
# Of what nspawn keeps there nothing stays.
mount -t tmpfs tmpfs /run
root=$scratch/root
mkdir "$scratch/upper" "$scratch/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
# Of this machine's own units none, and nothing for the kernel that others use as well.
rm -rf "$root/etc/systemd/system" "$root/var/lib/wrapwatch" "$root/var/lib/private"
mkdir -p "$root/etc/systemd/system" "$root/result"
for masked in modprobe@ systemd-modules-load systemd-sysctl systemd-udevd systemd-random-seed; do
  ln -s /dev/null "$root/etc/systemd/system/$masked.service"
done
cp "$unit" "$root/etc/systemd/system/wrapwatch-recorder.service"
cp "$wrapwatch" "$root/usr/bin/wrapwatch"
cp "$server" "$root/usr/sbin/mysqld"
echo 'ALL: 127.0.0.1' > "$root/allow"
cat > "$root/etc/systemd/system/mysqld.service" << 'UNIT'
[Service]
Environment=STAYS_ROOT=1
ExecStart=/usr/sbin/mysqld 3306 /allow /none
UNIT
cat > "$root/etc/systemd/system/test.service" << 'UNIT'
[Unit]
After=mysqld.service wrapwatch-recorder.service
[Service]
Type=oneshot
ExecStart=/bin/bash /test.sh
StandardOutput=file:/result/said
StandardError=file:/result/said
UNIT
cat > "$root/etc/systemd/system/test.target" << 'UNIT'
[Unit]
Wants=mysqld.service wrapwatch-recorder.service test.service
UNIT
cat > "$root/test.sh" << 'TEST'
clients() { for _ in $(seq 20); do (exec 3<> /dev/tcp/127.0.0.1/3306; cat <&3); done > /dev/null 2>&1; }
trace() { wrapwatch export --quiet --force --to wwt /var/lib/wrapwatch/flight.wwt.ring -o /result/t.wwt; }
# Until the recorder has found the server and has written what it saw: at most a minute.
for _ in $(seq 60); do
  clients
  trace && wrapwatch replay --json /result/t.wwt | grep -q '"type":"connection"' && break
  sleep 1
done
cat "/proc/$(systemctl show -P MainPID wrapwatch-recorder)/status" > /result/status
systemctl stop wrapwatch-recorder
systemctl show -p Result,NRestarts,MemoryMax,ExecMainStatus wrapwatch-recorder > /result/shown
systemctl exit 0
TEST
"$nspawn" --quiet --directory "$root" --boot --register=no --keep-unit --private-network --bind "$result:/result" \
  --capability=CAP_BPF,CAP_PERFMON --system-call-filter=@known systemd.unit=test.target
