# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""A real kernel in QEMU, spoken to over its serial line.

The initramfs is made here: a static busybox, the programs that a test wants
with the libraries that they need, and an init that waits for commands. It is
the same after a kexec, so a test goes on where the next kernel boots. A test
can bring an init of its own that runs COMMANDS at some time.
"""
import base64
import os
import pathlib
import re
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

ROOT = os.path.abspath(os.path.dirname(__file__) + '/../..')
CMDLINE = 'console=ttyS0 kho=on liveupdate=on panic=-1 quiet'
# Under emulation, on a busy machine.
PATIENCE = int(os.environ.get('KHO_VM_PATIENCE', 300))

MOUNTS = '''
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
mount -t tmpfs tmp /tmp
mkdir -p /run
ip link set lo up 2>/dev/null
'''
COMMANDS = '''
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


# ---- its kernel ----

# The image of CURRENT, if this machine's user has a wish.
OWN = os.environ.get('KHO_VM_KERNEL')
# What scripts/vm-kernel makes.
CACHE = os.path.join(os.environ.get('XDG_CACHE_HOME') or
                     os.path.expanduser('~/.cache'), 'kho-tools')
FOLDERS = [*([os.path.dirname(os.path.abspath(OWN))] if OWN else []),
           os.path.abspath(ROOT + '/../shared/vm'), CACHE]


def find():
    """The names of three kernels, for kernel() and below /boot: the one that
    is tested; one that neither reads its state nor is read by it; one of an
    earlier series. There need not be such a file."""
    found = {}
    for folder in filter(os.path.isdir, FOLDERS):
        for name in os.listdir(folder):
            m = re.fullmatch(r'bzImage-(\d+)\.(\d+)\.(\d+)-kho', name)
            if m:
                found[tuple(map(int, m.groups()))] = name
    version = max(found, default=())
    newest = found.get(version, 'kernel with KHO')
    older = max((v for v in found if v[:2] < version[:2]), default=None)
    return (os.path.basename(OWN) if OWN else newest,
            newest + '-next' if found else 'next kernel',
            found.get(older, 'older kernel'))


CURRENT, NEXT, OLDER = find()


def kernel(name=CURRENT):
    """The image to boot, None when there is none on this machine."""
    own = OWN and name == os.path.basename(OWN)
    for path in [OWN] if own else [f'{f}/{name}' for f in FOLDERS]:
        if os.path.exists(path):
            return os.path.abspath(path)
    return None


def missing():
    """What keeps a test from running here, or None."""
    for tool in 'qemu-system-x86_64', 'busybox', 'ldd':
        if not shutil.which(tool):
            return f'no {tool}'
    if not kernel():
        return 'no kernel with KHO: make one with scripts/vm-kernel, or name ' \
               'it in KHO_VM_KERNEL'
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


def text(content, mode=0o644):
    return stat.S_IFREG | mode, content.encode()


def script(content):
    return text('#!/bin/sh\n' + content, 0o755)


def link(to):
    return stat.S_IFLNK | 0o777, to.encode()


def initramfs(programs, kernels=(), extra=None):
    """The archive's bytes. @programs go to /bin, @kernels to /boot; @extra is
    more, {path: (mode, bytes)}, and its folders come along."""
    files = {'init': script(MOUNTS + COMMANDS)}

    def add(path, source):
        with open(source, 'rb') as f:
            files[path] = 0o100755, f.read()

    for folder in ('bin', 'boot', 'dev', 'lib', 'lib64', 'proc', 'sys', 'tmp',
                   'run'):
        files[folder] = 0o040755, b''
    add('bin/busybox', shutil.which('busybox'))
    files['bin/sh'] = link('busybox')
    for program in programs:
        add('bin/' + os.path.basename(program), program)
        for name, source in libraries(program).items():
            add(name[1:] if name[0] == '/' else 'lib/' + name, source)
    for image in kernels:
        add('boot/' + os.path.basename(image), image)
    for path, what in (extra or {}).items():
        for parent in reversed(list(pathlib.PurePath(path).parents)[:-1]):
            files.setdefault(str(parent), (0o040755, b''))
        files[path] = what
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

    def put(self, path, data):
        """A file of the guest, in lines that a terminal takes."""
        self.run(f': >{path}')
        for at in range(0, len(data), 2000):
            piece = base64.b64encode(data[at:at + 2000]).decode()
            self.run(f'echo {piece} | base64 -d >>{path}')

    def pack(self):
        """/tmp/initrd: what this kernel was booted with, which has no copy."""
        self.run("cd / && find . -xdev ! -path './run/*' | "
                 'cpio -o -H newc >/tmp/initrd')

    def kexec(self, image, options=''):
        """What kho kexec says before the next kernel is there."""
        self.pack()
        self.send(f'kho kexec --initrd /tmp/initrd --reuse-cmdline {options} '
                  f'/boot/{image}')
        if self.expect(rb'@(ready|done) (\S+)\r?\n')[1] == b'done':
            raise AssertionError('no kexec: ' + self.before.decode())
        new = self.log[:self.seen].split()[-1].decode()
        assert new != self.boot
        self.boot = new
        said = self.before.decode(errors='replace').replace('\r', '')
        self.run(f'ln -sf {image} /boot/vmlinuz-$(uname -r)')
        return said

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


def bumped(image, old, new):
    """The bytes of a kernel in which another version string stands: it does
    not read what the first one wrote. Not one more or less than there were."""
    with open(kernel(image), 'rb') as f:
        data = f.read()
    # Documentation/arch/x86/boot.rst: payload_offset, payload_length.
    at = (data[0x1f1] + 1) * 512 + struct.unpack_from('<I', data, 0x248)[0]
    size = struct.unpack_from('<I', data, 0x24c)[0]
    if data[at:at + 3] != b'\x1f\x8b\x08':
        raise tap.Skip(f'{image} is not packed with gzip')
    vmlinux = zlib.decompress(data[at:at + size], 31)
    assert vmlinux.count(old) == 1 and len(old) == len(new), vmlinux.count(old)
    vmlinux = vmlinux.replace(old, new)
    for level in range(9, 0, -1):
        pack = zlib.compressobj(9, zlib.DEFLATED, -15, level)
        packed = pack.compress(vmlinux) + pack.flush()
        room = size - len(packed) - 18
        if room > 0:
            break
    else:
        raise tap.Skip(f'{image} cannot be packed as small again')
    # A name of the file takes what room there is.
    packed = struct.pack('<3sBIBB', b'\x1f\x8b\x08', 8, 0, 2, 3) + \
        b'x' * (room - 1) + b'\0' + packed + \
        struct.pack('<II', zlib.crc32(vmlinux), len(vmlinux))
    return data[:at] + packed + data[at + size:]


def boot(programs, image=CURRENT, kernels=(CURRENT,), memory='512M',
         extra=None, cmdline=''):
    """A guest that has these programs, and kernels to go on with."""
    images = sorted({image, *kernels})
    paths = [kernel(name) for name in images]
    if not all(paths):
        raise tap.Skip(f'no {" or ".join(images)}')
    machine = Guest(kernel(image), initramfs(programs, paths, extra), memory,
                    cmdline)
    # Where the running kernel's image is looked for.
    machine.run(f'ln -sf {image} /boot/vmlinuz-$(uname -r)')
    return machine
