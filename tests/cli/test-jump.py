#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Before the jump into another kernel: test-jump.py KHO TALLY NO-KEXEC.SO

The running kernel is a folder (KHO_ROOT); none is ever loaded.
"""
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.dirname(__file__) + '/../..')
sys.path[:0] = [TOP + '/tests', TOP + '/tests/image']
import images
import tap

KHO, TALLY, NO_KEXEC = map(os.path.abspath, sys.argv[1:])
DIR = tempfile.mkdtemp(prefix='kho-jump-')
MIB = 1 << 20
ON = 'console=ttyS0 kho=on liveupdate=on'


def put(path, data):
    path = f'{DIR}/{path}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)
    return path


def kernel(*settings, rodata=images.VERSIONS, how='gzip', memory=16 * MIB,
           **config):
    """An image; without settings there is no configuration in it."""
    for setting in settings:
        config[setting] = 'y'
    built_in = images.config(KEXEC_HANDOVER='y', LIVEUPDATE='y', **config) \
        if settings or config else b''
    return images.bzimage(images.vmlinux(images.BANNER + rodata + built_in),
                          how, memory=memory)


def next_kernel(name, *settings, **more):
    return put(name, kernel(*settings, **more))


class Running:
    """The files of the running kernel, below a folder of its own."""

    def __init__(self, cmdline=ON, scratch=(64 * MIB, 64 * MIB),
                 memory=512 * MIB):
        self.root = tempfile.mkdtemp(prefix='root-', dir=DIR)
        self.put('proc/sys/kernel/osrelease', images.RELEASE + '\n')
        self.put('proc/cmdline', cmdline + '\n')
        self.put('proc/meminfo', f'MemTotal:  {memory >> 10} kB\nMemFree: 1 kB\n')
        self.put(f'boot/vmlinuz-{images.RELEASE}', kernel())
        if scratch:
            self.put('sys/kernel/debug/kho/out/scratch_len',
                     ''.join(f'{size:#x}\n' for size in scratch))
        self.device = self.put('dev/liveupdate', '')

    def put(self, path, data):
        if isinstance(data, str):
            data = data.encode()
        return put(os.path.relpath(f'{self.root}/{path}', DIR), data)

    def kho(self, *args, code=None, cwd=None, **env):
        # No sanitizer is in the way: there is no such build of this test.
        done = subprocess.run(
            [KHO, *args], capture_output=True, text=True, errors='replace',
            timeout=60, cwd=cwd, env={
                **os.environ, 'KHO_ROOT': self.root,
                'KHO_RUNTIME_DIR': f'{DIR}/run', 'LD_PRELOAD': NO_KEXEC, **env})
        assert code is None or done.returncode == code, (args, done)
        return done

    def check(self, image, *args, code):
        """What kho check says of the conditions; kho kexec says the same."""
        done = self.kho('check', '--json', *args, 'running', image, code=code)
        report = json.loads(done.stdout)
        assert report['compatible'] == (code == 0), report
        assert report['outcome'] == {
            0: 'compatible', 1: 'incompatible', 2: 'unknown'}[code], report
        if args:
            loaded = self.load(image, *args, code=code)
            assert loaded['report']['outcome'] == report['outcome'], loaded
            assert loaded['result'] == {0: 'loaded', 1: 'refused',
                                        2: 'failed'}[code], loaded
            assert bool(loaded['error']) == bool(code), loaded
        return {c['name']: (c['verdict'], c['reason'])
                for c in report['conditions']}

    def load(self, image, *args, code, error=0):
        """kho kexec, but that there is none; the JSON and what it loaded."""
        log = f'{DIR}/log'
        if os.path.exists(log):
            os.unlink(log)
        done = self.kho('kexec', '--json', '--load-only', *args, image,
                        code=code, KEXEC_ERROR=str(error), KEXEC_LOG=log)
        document = json.loads(done.stdout)
        document['said'] = done.stderr
        document['cmdline'] = None
        if os.path.exists(log):
            with open(log, 'rb') as f:
                document['cmdline'] = f.read()
        return document


def command_line():
    """kho=, liveupdate= against what is on by default"""
    on = next_kernel('on', 'KEXEC_HANDOVER_ENABLE_DEFAULT')
    off = next_kernel('off', KEXEC_HANDOVER_ENABLE_DEFAULT='n')
    unknown = next_kernel('unknown')
    running = Running()
    verdicts = {0: 'ok', 1: 'fails', 2: 'unknown'}
    for line, said in (
            ('kho=on', (0, 0, 0)), ('kho=1', (0, 0, 0)),
            ('kho=off', (1, 1, 1)), ('kho=0', (1, 1, 1)),
            ('kho=on kho=n', (1, 1, 1)), ('kho=off kho=y', (0, 0, 0)),
            ('', (0, 1, 2)), ('kho', (0, 1, 2)), ('kho=maybe', (0, 1, 2)),
            ('-- kho=on', (0, 1, 2)), ('x="a kho=off"', (0, 1, 2)),
            ('kho=on -- kho=off', (0, 0, 0)), ('kho-scratch=1M', (0, 1, 2))):
        for image, code in zip((on, off, unknown), said):
            found = running.check(image, '--cmdline', f'liveupdate=1 {line}',
                                  code=code)
            assert found['kho='][0] == verdicts[code], (line, found)
            assert found['liveupdate='][0] == 'ok', (line, found)
            if code:
                assert 'kho=on' in found['kho='][1], found
    for line, code in (('liveupdate=on', 0), ('liveupdate=off', 1), ('', 1),
                       ('liveupdate=on liveupdate=0', 1), ('liveupdate', 1),
                       ('-- liveupdate=on', 1), ('liveupdate="on"', 0)):
        found = running.check(on, '--cmdline', line, code=code)
        assert found['liveupdate='][0] == verdicts[code], (line, found)
    # The words, with what is to be done.
    for image, line, words in (
            (on, 'kho=off', 'kho=off is on its command line'),
            (off, 'quiet', 'CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT'),
            (unknown, 'quiet', 'CONFIG_IKCONFIG'),
            (off, 'kho=maybe', 'not understood (maybe)'),
            (off, '-- kho=on', "behind '--'")):
        done = running.kho('check', '--append', line, 'running', image)
        assert words in done.stdout, done
        head = done.stdout.split('COMPONENT')[0]
        assert words in head and done.stdout.count(words) == 1, done
    done = running.kho('check', 'running', '--append', 'liveupdate=on', unknown,
                       code=2)
    assert done.stdout.startswith('cannot tell: running -> '), done
    # With consent it goes.
    loaded = running.load(unknown, '--force', '--cmdline', 'liveupdate=on',
                          code=0)
    assert 'forced' in loaded['said'] and 'kho= unknown' in loaded['said']
    # What is not handed over need not be taken over.
    no_luo = Running('kho=on')
    found = no_luo.check(on, '--cmdline', 'quiet', code=0)
    assert 'liveupdate=' not in found, found


def sources():
    """--cmdline, --reuse-cmdline, --append: what is checked is what is loaded"""
    image = next_kernel('image')
    running = Running('BOOT_IMAGE=/x "a b"  kho=on liveupdate=on')
    for args, line in (
            (['--reuse-cmdline'], 'BOOT_IMAGE=/x "a b"  kho=on liveupdate=on'),
            (['--reuse-cmdline', '--append', 'ro'],
             'BOOT_IMAGE=/x "a b"  kho=on liveupdate=on ro'),
            (['--append', ON], ON), (['--cmdline', ON], ON),
            (['--append', 'b', '--cmdline', ON, '--append', 'c'], ON + ' b c')):
        found = running.check(image, *args, code=0)
        assert found['command line'] == ('ok', line), found
        loaded = running.load(image, *args, code=0)['cmdline']
        assert loaded == line.encode() + b'\0', loaded
    # Without any, kho kexec gives it none; nobody knows what others do.
    assert running.load(image, code=1)['cmdline'] is None
    found = running.check(image, code=2)
    assert found['command line'][0] == 'unknown', found
    assert '--reuse-cmdline' in found['command line'][1], found
    assert 'kho=' not in found, found
    # That has a command line of its own, but not when it is loaded.
    for line, code in ((ON, 0), ('quiet', 1)):
        uki = put('uki', images.uki(kernel('SMP'), line))
        found = running.check(uki, code=code)
        assert found['command line'] == ('ok', line), found
        running.load(uki, code=1)
    # Last: what does not take over at all is more than what is not known.
    running.check(next_kernel('other', rodata=images.VERSIONS.replace(
        b'kho-v4', b'kho-v5')), code=1)
    done = running.kho('check', '--cmdline', 'a', '--reuse-cmdline', 'running',
                       image, code=2)
    assert 'not both' in done.stderr, done


def builtin():
    """a command line that is built in comes before, instead, or otherwise"""
    running = Running()
    for more, line, code, read in (
            ({}, 'kho=on', 1, 'kho=on'),
            ({'CMDLINE': '""'}, 'kho=on', 1, 'kho=on'),
            ({'CMDLINE': '"liveupdate=on"'}, 'kho=on', 0,
             'liveupdate=on kho=on'),
            ({'CMDLINE': f'"{ON}"'}, 'kho=off', 1, ON + ' kho=off'),
            ({'CMDLINE': '"kho=off"'}, ON, 0, 'kho=off ' + ON),
            ({'CMDLINE': f'"{ON}"'}, '', 0, ON),
            ({'CMDLINE': '"a --"'}, ON, 1, 'a -- ' + ON),
            ({'CMDLINE': r'"x=\"a b\" liveupdate=\"on\""'}, 'kho=on', 0,
             'x="a b" liveupdate="on" kho=on'),
            ({'CMDLINE': '"quiet"', 'CMDLINE_OVERRIDE': 'y'}, ON, 1,
             'only what is built in: quiet'),
            ({'CMDLINE': f'"{ON}"', 'CMDLINE_FORCE': 'y'}, 'kho=off', 0,
             'only what is built in: ' + ON),
            ({'CMDLINE': f'"{ON}"', 'CMDLINE_FROM_BOOTLOADER': 'y'}, 'quiet', 1,
             'quiet'),
            ({'CMDLINE': f'"{ON}"', 'CMDLINE_FROM_BOOTLOADER': 'y'}, '', 0, ON)):
        image = next_kernel('builtin', KEXEC_HANDOVER_ENABLE_DEFAULT='n', **more)
        found = running.check(image, '--cmdline', line, code=code)
        assert found['command line'] == ('ok', read), (more, line, found)
        shown = running.kho('manifest', image, code=0).stdout
        assert ('built-in' in shown) == (more.get('CMDLINE', '""') != '""')
        # A manifest stands for the image.
        done = running.kho('manifest', '--json', image, code=0)
        document = put('builtin.json', done.stdout.encode())
        done = running.kho('check', '--json', '--cmdline', line, 'running',
                           document, code=code)
        said = json.loads(done.stdout)['conditions']
        assert {c['name']: c['reason'] for c in said}['command line'] == read
    # What a bootconfig puts before it is not known.
    image = next_kernel('builtin', KEXEC_HANDOVER_ENABLE_DEFAULT='y',
                        CMDLINE_FROM_BOOTCONFIG='y')
    found = running.check(image, '--cmdline', 'liveupdate=on', code=2)
    assert 'BOOTCONFIG' in found['kho='][1], found
    running.check(image, '--cmdline', ON, code=0)
    # As much of it as Linux has room for.
    image = next_kernel('builtin', CMDLINE='"' + 2040 * 'x' + '"')
    found = running.check(image, '--cmdline', ON, code=1)
    assert found['kho='][0] == found['liveupdate='][0] == 'fails', found


def long():
    """a command line that is too long is refused, also when forced"""
    image = next_kernel('image')
    running = Running()
    fits = ON + ' ' + 'x' * (2047 - 31 - len(ON) - 1)
    running.check(image, '--cmdline', fits, code=0)
    found = running.check(image, '--cmdline', fits + 'y', code=1)
    assert found['command line'][0] == 'fatal', found
    assert '2017 bytes' in found['command line'][1], found
    loaded = running.load(image, '--force', '--cmdline', fits + 'y', code=1)
    assert loaded['cmdline'] is None and '--force or not' in loaded['error']
    # Of another kernel, all that Linux itself reads.
    arm64 = put('arm64', images.arm64())
    fits += 'x' * 31
    running.check(arm64, '--cmdline', fits, code=0)
    assert 'command line' in running.check(arm64, '--cmdline', fits + 'y',
                                           code=1)


def initrd():
    """an initrd that cannot be one: exit 2, before anything happens"""
    image = next_kernel('image')
    running = Running()
    for path, words in ((f'{DIR}/none', 'No such file'), (DIR, 'not a regular'),
                        (put('empty', b''), 'is empty'),
                        ('/dev/null', 'not a regular')):
        for verb in ['check', 'running'], ['kexec']:
            done = running.kho(verb[0], '--append', ON, '--initrd', path,
                               *verb[1:], image, code=2)
            assert path in done.stderr and words in done.stderr, done
    running.check(image, '--append', ON, '--initrd', put('initrd', b'x'), code=0)


def scratch():
    """scratch areas that the next kernel cannot be put into, or start in"""
    image = next_kernel('image', memory=16 * MIB)
    with open(f'{DIR}/initrd', 'wb') as f:
        f.truncate(10 * MIB)
    args = '--append', ON, '--initrd', f'{DIR}/initrd'
    small, large = 512 * MIB, 4096 * MIB
    for sizes, memory, code, verdict in (
            # No piece is large enough, of several or of one.
            ((15 * MIB, 15 * MIB, 10 * MIB), small, 1, 'fatal'),
            ((16 * MIB, 9 * MIB), small, 1, 'fatal'),
            ((25 * MIB,), small, 1, 'fatal'), ((), small, 1, 'fatal'),
            # A page struct for each page: 8 and 64 MiB.
            ((33 * MIB,), small, 1, 'fatal'), ((34 * MIB,), small, 0, 'ok'),
            ((16 * MIB, 18 * MIB), small, 0, 'ok'),
            ((16 * MIB, 17 * MIB), small, 1, 'fatal'),
            ((89 * MIB,), large, 2, 'unknown'), ((90 * MIB,), large, 0, 'ok')):
        # At least one is always there.
        running = Running(scratch=sizes or (0,), memory=memory)
        found = running.check(image, *args, code=code)
        assert found['scratch'][0] == verdict, (sizes, found)
        if code:
            assert 'kho_scratch=' in found['scratch'][1], found
    assert running.load(image, '--force', *args, code=0)['cmdline']
    # Not to be read: whether it fits is seen when it is loaded.
    hidden = Running(scratch=None)
    done = hidden.kho('check', '--append', ON, 'running', image, code=2)
    assert 'debugfs' in done.stdout, done
    hidden.load(image, *args, code=0)
    # Not there: then KHO may be off, whatever the command line says.
    os.unlink(hidden.device)
    done = hidden.kho('check', '--append', ON, 'running', image, code=2)
    assert 'did not fit' in done.stdout, done
    assert hidden.load(image, *args, code=2)['cmdline'] is None
    # Of the next kernel it does not matter.
    found = running.check(image, *args, '--append', 'kho_scratch=1M,1M,1M',
                          code=0)
    assert 'without effect' in found['kho_scratch='][1], found


def versions():
    """a LUO version that makes it panic is refused, also when forced"""
    def other(name, *change):
        return next_kernel(name, rodata=images.VERSIONS.replace(*change))
    running = Running()
    luo = other('luo', b'luo-v5', b'luo-v6')
    for more in '', ' liveupdate=off':
        args = '--append', ON + more
        found = running.check(luo, *args, code=1)
        assert found['luo'][0] == 'fatal', found
        loaded = running.load(luo, '--force', *args, code=1)
        assert loaded['cmdline'] is None and 'refused' in loaded['error']
    # Then it does not look at LUO's state.
    args = '--append', ON + ' kho=off'
    assert 'luo' not in running.check(luo, *args, code=1)
    assert running.load(luo, '--force', *args, code=0)['cmdline']
    # Nor when it ignores all of it.
    kho = other('kho', b'kho-v4\0compatible\0kexec-metadata\0LUO\0luo-v5',
                b'kho-v5\0compatible\0kexec-metadata\0LUO\0luo-v6')
    assert 'luo' not in running.check(kho, '--append', ON, code=1)
    loaded = running.load(kho, '--force', '--append', ON, code=0)
    assert loaded['cmdline'] and 'forced' in loaded['said'], loaded
    # An unknown handler makes its device useless.
    memfd = put('memfd', images.bzimage(images.vmlinux(
        images.BANNER + images.VERSIONS, images.MEMFD.replace(b'v2', b'v3'))))
    found = running.check(memfd, '--append', ON, code=1)
    assert found['memfd'][0] == 'fails' and 'EIO' in found['memfd'][1], found
    assert running.load(memfd, '--force', '--append', ON, code=0)['cmdline']


def device():
    """services need /dev/liveupdate: who has it open is named"""
    image = next_kernel('image')
    running = Running()
    args = 'check', '--append', ON, 'running', image
    assert '/dev/liveupdate' not in running.kho(*args, code=0).stdout
    with open(running.device, 'rb'):
        # There is nobody who needs it.
        assert '/dev/liveupdate' not in running.kho(*args, code=0).stdout
    env = {**os.environ, 'KHO_RUNTIME_DIR': f'{DIR}/run'}
    service = subprocess.Popen(
        [KHO, 'run', '--name', 's', '--', TALLY, f'{DIR}/socket'], env=env,
        stderr=subprocess.DEVNULL)
    try:
        while 'serving' not in running.kho('list', code=0).stdout:
            assert service.poll() is None
            time.sleep(.02)
        done = running.kho(*args, code=0)
        assert re.search(r'/dev/liveupdate +ok ', done.stdout), done
        with open(running.device, 'rb'):
            done = running.kho(*args, code=1)
            name = open('/proc/self/comm', encoding='utf-8').read().strip()
            assert f'process {os.getpid()} ({name}) has it open' in done.stdout
            done = running.kho('kexec', '--append', ON, image, code=1)
            assert f'process {os.getpid()} ({name})' in done.stdout, done
            # Nobody goes along then.
            running.load(image, '--append', ON, code=0)
        os.unlink(running.device)
        done = running.kho(*args, code=1)
        assert 'start it with liveupdate=on' in done.stdout, done
    finally:
        service.terminate()
        service.wait()


def load_errors():
    """what kexec_file_load says: the cause, and what to do"""
    image = next_kernel('image')
    running = Running()
    args = '--append', ON

    def said(error):
        document = running.load(image, *args, code=2, error=error)
        assert document['result'] == 'failed', document
        assert f'cannot load {image}: ' in document['error'], document
        assert os.strerror(error) not in document['error'] or \
            error == errno.EIO, document
        return document['error']
    for error, words in (
            ('ENOEXEC', 'bzImage'), ('ENOMEM', 'out of memory'),
            ('EADDRNOTAVAIL', 'kho_scratch='), ('EINVAL', 'too long'),
            ('EBUSY', 'try again'), ('ENOKEY', 'does not trust its signature'),
            ('EKEYREJECTED', 'does not trust its signature'),
            ('ENODATA', 'not signed'), ('ELIBBAD', 'not signed'),
            ('EBADMSG', 'signature'), ('EACCES', 'IMA'),
            ('ENOSYS', 'CONFIG_KEXEC_FILE'), ('EFBIG', 'too large'),
            ('ETXTBSY', 'open for writing'), ('EIO', 'Input/output error'),
            ('EPERM', 'CAP_SYS_BOOT' if os.geteuid() == 0 else 'be root')):
        assert words in said(getattr(errno, error)), (error, words)
    if os.geteuid():
        return
    for mode, locked in (('[none] integrity confidentiality', False),
                         ('none [integrity] confidentiality', True),
                         ('none integrity [confidentiality]', True)):
        running.put('sys/kernel/security/lockdown', mode + '\n')
        assert ('locked down' in said(errno.EPERM)) == locked, mode
    running.put('proc/sys/kernel/kexec_load_limit_reboot', '-1\n')
    assert 'locked down' in said(errno.EPERM)
    running.put('proc/sys/kernel/kexec_load_limit_reboot', '0\n')
    assert 'kexec_load_limit_reboot' in said(errno.EPERM)
    running.put('proc/sys/kernel/kexec_load_disabled', '1\n')
    assert 'kexec_load_disabled' in said(errno.EPERM)


def elsewhere():
    """two kernels, neither of which runs: versions, and the command line if named"""
    running = Running()
    one = next_kernel('one', KEXEC_HANDOVER_ENABLE_DEFAULT='n')
    running.kho('check', one, one, code=0)
    done = running.kho('check', '--cmdline', 'quiet', one, one, code=1)
    assert 'kho=: ' in done.stdout and 'scratch' not in done.stdout, done
    running.kho('check', '--cmdline', ON, one, one, code=0)
    # A program has no command line that would decide.
    for args in ([TALLY, TALLY], [one, TALLY]):
        done = running.kho('check', '--cmdline', ON, *args, code=2)
        assert 'are for kernels' in done.stderr, done


def same_name():
    """IMAGE is a file, also when a service or a program in PATH has its name"""
    next_kernel('tally', 'KEXEC_HANDOVER_ENABLE_DEFAULT')
    running = Running()
    with subprocess.Popen(
            [KHO, 'run', '--name', 'tally', '--', TALLY, f'{DIR}/sock'],
            env={**os.environ, 'KHO_RUNTIME_DIR': f'{DIR}/run'}) as service:
        try:
            while not os.path.exists(f'{DIR}/run/tally/status.json'):
                assert service.poll() is None
                time.sleep(0.02)
            running.kho('kexec', '--load-only', '--cmdline', ON, 'tally',
                        code=0, cwd=DIR, KEXEC_ERROR='0')
        finally:
            service.terminate()
    os.makedirs(f'{DIR}/bin', exist_ok=True)
    shutil.copy(TALLY, f'{DIR}/bin/tally')
    running.kho('kexec', '--load-only', '--cmdline', ON, 'tally', code=0,
                cwd=DIR, KEXEC_ERROR='0',
                PATH=f'{DIR}/bin:{os.environ["PATH"]}')


def manual():
    """each command in the documentation names a command line that works"""
    pages = [f'{TOP}/README.md', *(f'{TOP}/docs/man/{name}' for name in
                                   sorted(os.listdir(f'{TOP}/docs/man'))
                                   if name.endswith('.scd'))]
    image = next_kernel('image')
    running = Running()
    seen = 0
    for page in pages:
        with open(page, encoding='utf-8') as f:
            text = f.read()
        for line in text.splitlines():
            line = line.strip()
            # Of a unit's configuration: quotes in quotes.
            conf = re.fullmatch(r"KHO_KEXEC=(.*)|echo '(KHO_KEXEC=.*)' >\S+",
                                line)
            if conf:
                value = shlex.split(conf[1] or conf[2].partition('=')[2])
                words = ['kexec', *shlex.split(value[0])]
            elif re.match(r'kho (kexec|check) .*(vmlinuz|IMAGE)', line):
                words = shlex.split(line)[1:]
            else:
                continue
            seen += 1
            words[-1] = image
            words = [put('initrd', b'x') if '/initrd' in w else w
                     for w in words]
            done = running.kho(words[0], *['--load-only'] * (words[0] == 'kexec'),
                               *words[1:], code=0, KEXEC_ERROR='0')
            assert done.returncode == 0, (page, line, done)
    assert seen >= 6, seen


TESTS = [command_line, sources, builtin, long, initrd, scratch, versions,
         device, load_errors, elsewhere, same_name, manual]

try:
    tap.main(TESTS)
finally:
    shutil.rmtree(DIR)
