# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""A real kernel in QEMU, spoken to over its serial line.

The initramfs is made here: a static busybox, the programs that a test wants
with the libraries that they need, and an init that waits for commands. It is
the same after a kexec, so a test goes on where the next kernel boots.
"""
import base64
import os
import re
import select
import shutil
import socket
import stat
import subprocess
import tempfile
import time

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
CMDLINE = 'console=ttyS0 kho=on liveupdate=on panic=-1 quiet'
# Under emulation, on a busy machine.
PATIENCE = int(os.environ.get('KHO_VM_PATIENCE', 300))

INIT = '''#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs tmp /tmp
mkdir -p /run
ip link set lo up 2>/dev/null
stty -echo -onlcr 2>/dev/null </dev/ttyS0
echo "@ready $(cut -d' ' -f1 /proc/sys/kernel/random/boot_id)"
while read -r line; do
	printf %s "$line" | base64 -d >/tmp/.command
	sh /tmp/.command </dev/null 2>&1
	printf '\\n@done %d\\n' $?
done
'''


class Gone(Exception):
    """The guest has ended."""


def kernel(name='bzImage-7.3.4-kho'):
    """The image to boot, None when there is none on this machine."""
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    wanted = os.environ.get('KHO_VM_KERNEL')
    for path in ([wanted] if wanted and name == 'bzImage-7.3.4-kho' else
                 [f'{ROOT}/../shared/vm/{name}', f'{cache}/kho-tools/{name}']):
        if path and os.path.exists(path):
            return os.path.abspath(path)
    return None


def missing():
    """What keeps a test from running here, or None."""
    for tool in 'qemu-system-x86_64', 'busybox', 'ldd':
        if not shutil.which(tool):
            return f'no {tool}'
    if not kernel():
        return 'no kernel with KHO: see KHO_VM_KERNEL'
    return None


# ---- the initramfs ----

def cpio(files):
    """A newc archive of {path: (mode, bytes)}."""
    out = bytearray()
    for number, (path, (mode, data)) in enumerate(
            [*files.items(), ('TRAILER!!!', (0, b''))], 1):
        name = path.encode() + b'\0'
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name),
                  0]
        out += b'070701' + b''.join(b'%08X' % f for f in fields) + name
        out += bytes(-len(out) % 4)
        out += data
        out += bytes(-len(out) % 4)
    return bytes(out)


def libraries(program):
    """{name that the loader looks for: file} of all that it needs."""
    ran = subprocess.run(['ldd', program], text=True, capture_output=True)
    found = {}
    for line in ran.stdout.splitlines():
        m = re.match(r'\s*(?:(\S+) => )?(/\S+) \(0x', line)
        if m:
            found[m[1] or m[2]] = m[2]
    return found


def initramfs(programs, kernels=()):
    """The archive's bytes. @programs go to /bin, @kernels to /boot."""
    files = {'init': (0o100755, INIT.encode())}

    def add(path, source):
        with open(source, 'rb') as f:
            files[path] = 0o100755, f.read()

    for folder in ('bin', 'boot', 'dev', 'lib', 'lib64', 'proc', 'sys', 'tmp',
                   'run'):
        files[folder] = 0o040755, b''
    add('bin/busybox', shutil.which('busybox'))
    files['bin/sh'] = stat.S_IFLNK | 0o777, b'busybox'
    for program in programs:
        add('bin/' + os.path.basename(program), program)
        for name, source in libraries(program).items():
            add(name[1:] if name[0] == '/' else 'lib/' + name, source)
    for image in kernels:
        add('boot/' + os.path.basename(image), image)
    return cpio(files)


# ---- the machine ----

class Guest:
    def __init__(self, image, archive, memory='1G', cmdline=''):
        self.dir = tempfile.mkdtemp()
        self.log = b''
        self.seen = 0
        with open(self.dir + '/initrd', 'wb') as f:
            f.write(archive)
        self.process = subprocess.Popen(
            ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-m', memory,
             '-nodefaults', '-no-reboot', '-nographic', '-serial', 'stdio',
             '-monitor', f'unix:{self.dir}/monitor,server=on,wait=off',
             '-kernel', image, '-initrd', self.dir + '/initrd', '-append',
             f'{CMDLINE} {cmdline}'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.boot = self.ready()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir)
        if kind:
            print('# the guest said:')
            for line in self.log.decode(errors='replace').splitlines()[-200:]:
                print('#   ' + line.rstrip())

    def expect(self, pattern, patience=PATIENCE):
        """Wait for a line and return the match; what came before is seen."""
        end = time.monotonic() + patience
        while True:
            m = re.search(pattern, self.log[self.seen:])
            if m:
                self.before = self.log[self.seen:self.seen + m.start()]
                self.seen += m.end()
                return m
            left = end - time.monotonic()
            if left < 0:
                raise AssertionError(f'no {pattern} within {patience} s')
            ready, _, _ = select.select([self.process.stdout], [], [], left)
            data = self.process.stdout.read() if ready else None
            if data == b'':
                raise Gone(f'the guest ended while {pattern} was expected')
            self.log += data or b''

    def ready(self):
        """Wait until a kernel has booted; its boot ID."""
        return self.expect(rb'@ready (\S+)\r?\n')[1].decode()

    def send(self, command):
        self.process.stdin.write(base64.b64encode(command.encode()) + b'\n')
        self.process.stdin.flush()

    def try_run(self, command, patience=PATIENCE):
        """(exit code, output) of a shell command in the guest"""
        self.send(command)
        code = int(self.expect(rb'\n@done (\d+)\r?\n', patience)[1])
        return code, self.before.decode(errors='replace').replace('\r', '')

    def run(self, command, patience=PATIENCE):
        """Its output; it must succeed."""
        code, output = self.try_run(command, patience)
        if code:
            raise AssertionError(f'{command}: exit {code}: {output}')
        return output

    def monitor(self, command):
        """A command to QEMU itself."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(self.dir + '/monitor')
        answer = b''
        prompts = 0
        sock.send(command.encode() + b'\n')
        while prompts < 2:
            answer += sock.recv(65536)
            prompts = answer.count(b'(qemu) ')
        sock.close()
        return answer.decode(errors='replace')
