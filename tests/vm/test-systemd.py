#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""systemctl kexec, as kho-kexec.service(8) has it: a real systemd in a guest.

test-systemd.py KHO SESSIONS MINIMAL SERVICE TARGET PRESET

The systemd is this machine's, without udev, logind and D-Bus.
"""
import os
import re
import shutil
import sys

import guest
from guest import CURRENT, NEXT, Guest, link, script, text

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

*PROGRAMS, SERVICE, TARGET, PRESET = sys.argv[1:]
CONF = '/etc/kho-kexec.conf'
MANUAL = guest.ROOT + '/docs/man/kho-kexec.service.8.scd'

SYSTEMD = '/lib/systemd/'
DAEMONS = ['systemd', 'systemd-journald', 'systemd-shutdown']
TOOLS = ['systemctl', 'journalctl']
TARGETS = ['basic', 'final', 'kexec', 'local-fs', 'paths', 'reboot', 'shutdown',
           'slices', 'sockets', 'swap', 'sysinit', 'timers', 'umount']
VENDOR = [*(f'{t}.target' for t in TARGETS), 'systemd-kexec.service',
          'systemd-reboot.service', 'systemd-journald.service',
          'systemd-journald.socket', 'systemd-journald-dev-log.socket']

OWN = {
    'default.target': '''[Unit]
Requires=basic.target
After=basic.target
Wants=commands.service
''',
    'commands.service': '''[Service]
ExecStart=/bin/commands
StandardInput=tty-force
StandardOutput=tty
TTYPath=/dev/ttyS0
Environment=TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat
''',
    'counter.service': '''[Service]
ExecStart=/bin/kho run --name counter -- /bin/minimal
''',
    # As services are: the shutdown stops it, and closes its session.
    'plain.service': '''[Service]
ExecStart=/bin/sessions make
StandardInput=file:/etc/plain.sessions
''',
    # As the manual page says.
    'lasting.service': '''[Unit]
DefaultDependencies=no
[Service]
ExecStart=@/bin/sessions @sessions make
StandardInput=file:/etc/lasting.sessions
''',
}


def missing():
    why = guest.missing()
    if why:
        return why
    for path in [SYSTEMD + 'systemd', *map(shutil.which, TOOLS)]:
        if not path or not os.path.exists(path):
            return 'no systemd'
    return ''


def example():
    """The commands in the manual page."""
    with open(MANUAL, encoding='utf-8') as f:
        return f.read().split('# EXAMPLES')[1].split('```')[1].split('\n')[1:-1]


def unit(source):
    with open(source, encoding='utf-8') as f:
        return text(re.sub(r'(?m)^(ExecStart=@?)\S+/kho ', r'\1/bin/kho ',
                           f.read()))


def boot(*more):
    kernels = [guest.kernel(name) for name in (CURRENT, *more)]
    if not all(kernels):
        raise tap.Skip(f'no {" or ".join(more)}')
    daemons = [SYSTEMD + d for d in DAEMONS]
    # Newer ones have this, too.
    if os.path.exists(SYSTEMD + 'systemd-executor'):
        daemons.append(SYSTEMD + 'systemd-executor')
    units = 'lib/systemd/system/'
    extra = {
        'init': script(guest.MOUNTS + f'exec {SYSTEMD}systemd\n'),
        'bin/commands': script(guest.COMMANDS),
        'bin/reboot': link('systemctl'),
        'sbin': link('bin'),
        'usr/bin': link('../bin'),
        'usr/sbin': link('../bin'),
        'usr/lib': link('../lib'),
        'etc/passwd': text('root:x:0:0::/:/bin/sh\n'),
        'etc/group': text('root:x:0:\n'),
        'etc/plain.sessions': text('plain 1:4096\n'),
        'etc/lasting.sessions': text('lasting 1:4096 2:70000:4:5\n'),
        **{d[1:]: link('/bin/' + os.path.basename(d)) for d in daemons},
        **{units + name: unit(f'{SYSTEMD}system/{name}') for name in VENDOR},
        **{units + name: text(content) for name, content in OWN.items()},
        units + 'kho-kexec.service': unit(SERVICE),
        units + 'kho-kexec.target': unit(TARGET),
        'lib/systemd/system-preset/50-kho.preset': unit(PRESET),
        units + 'sysinit.target.wants/systemd-journald.service':
            link('../systemd-journald.service'),
    }
    archive = guest.initramfs(
        [*PROGRAMS, *daemons, *map(shutil.which, TOOLS)], kernels, extra)
    g = Guest(kernels[0], archive)
    # Names that Debian has, too.
    g.run(f'ln -s {CURRENT} /boot/vmlinuz-$(uname -r); '
          f'ln -s boot/{CURRENT} /vmlinuz; ln -s tmp/initrd /initrd.img')
    return g


SERVICES = {'plain': 'made', 'lasting': 'made', 'counter': '.*: 1'}


def start(g):
    for name, sign in SERVICES.items():
        g.run(f'systemctl start {name}; until journalctl -q -o cat -u {name} | '
              f'grep -qx "{sign}"; do usleep 100000; done')


def count(g):
    """The counter's next number: it does go on."""
    last = "journalctl -q -o cat -n 1 -u counter"
    return int(g.run(f'was=$({last}); while [ "$({last})" = "$was" ]; do '
                     f'usleep 100000; done; {last}').split(': ')[1])


def running(g):
    """What would not be the same had a service been stopped or restarted."""
    assert g.run('cat /proc/sys/kernel/random/boot_id').strip() == g.boot
    state = g.run('systemctl show -p ActiveState,MainPID,InvocationID '
                  'plain lasting counter commands')
    assert state.count('ActiveState=active') == 4, state
    # Their names are taken, as long as they are preserved.
    for name in 'plain', 'lasting':
        code, out = g.try_run(f'sessions make </etc/{name}.sessions')
        assert code == 1 and 'File exists' in out, out
    # It is not suspended.
    count(g)
    return state


def refused(g, command, why, waits=True):
    """The command is refused, and all is as it was."""
    before = running(g)
    journal = 'journalctl -q -o cat -u kho-kexec.service'
    failures = f"{journal} | grep -c \"Failed with result\""
    n = int(g.try_run(failures)[1])
    code, out = g.try_run(command)
    if waits:
        assert code != 0, out
    g.run(f'until [ $({failures}) -gt {n} ]; do usleep 100000; done')
    g.run('while ! systemctl list-jobs | grep -q "No jobs"; do '
          'usleep 100000; done')
    said = g.run(journal)
    assert why in said.split('Starting ')[-1], said
    assert running(g) == before
    return said.split('Starting ')[-1]


def configure(g, arguments):
    g.run(f"cat >{CONF} <<'.'\nKHO_KEXEC={arguments}\n.")


def make_initrd(g):
    """What this kernel was booted with; it has no copy."""
    g.run('cd / && find . -xdev | cpio -o -H newc >/tmp/initrd')


def next_kernel(g, command):
    before = count(g)
    g.send(command)
    new = g.ready()
    assert new != g.boot
    g.boot = new
    assert 'taken' in g.run('sessions take </etc/lasting.sessions')
    code, out = g.try_run('sessions take </etc/plain.sessions')
    assert code == 1 and 'No such file' in out, out
    # A cold start would begin with 1.
    g.run('systemctl start counter; until journalctl -q -o cat -u counter | '
          'grep -q "^[0-9]*: "; do usleep 100000; done')
    assert count(g) > before


def kexec_target():
    """who has not enabled it keeps systemd's own kexec.target"""
    with boot() as g:
        def name():
            return g.run('systemctl show -p Id kexec.target').strip()
        # The first boot did what the preset says.
        assert name() == 'Id=kexec.target'
        g.run('systemctl enable kho-kexec.target')
        assert name() == 'Id=kho-kexec.target'
        g.run('systemctl disable kho-kexec.target')
        assert name() == 'Id=kexec.target'


def gate():
    """refused: services run on with their sessions; compatible: they go over"""
    with boot(NEXT) as g:
        g.run('systemctl enable kho-kexec.target')
        start(g)
        refused(g, 'systemctl start kexec.target', 'it takes one IMAGE')
        configure(g, '/boot/none')
        refused(g, 'systemctl start kexec.target', '/boot/none')
        # The next kernel would have LUO off.
        configure(g, f"'--append \"console=ttyS0\" /boot/{CURRENT}'")
        said = refused(g, 'systemctl start kexec.target',
                       f'/boot/{CURRENT}: refused')
        assert 'add liveupdate=on' in said, said
        configure(g, '/boot/' + NEXT)
        said = refused(g, 'systemctl start kexec.target',
                       f'/boot/{NEXT}: refused')
        assert 'memfd: running writes' in said, said
        # These want that something is loaded, and they do not wait.
        g.run(f'kho kexec --load-only --reuse-cmdline /boot/{CURRENT}')
        refused(g, 'systemctl kexec', 'refused', waits=False)
        refused(g, '/bin/reboot', 'refused', waits=False)
        code, out = g.try_run('systemctl isolate kexec.target')
        assert code != 0 and 'isolated' in out, out
        running(g)
        # What somebody else has loaded is not what comes.
        g.run(f'kho kexec --force --load-only /boot/{NEXT}')
        make_initrd(g)
        configure(g, f"'--append \"{guest.CMDLINE} next\" "
                     f"--initrd /tmp/initrd /boot/{CURRENT}'")
        next_kernel(g, 'systemctl kexec')
        assert g.run('cat /proc/cmdline').strip() == guest.CMDLINE + ' next'


def stopped():
    """a check that is stopped, or takes too long, is not one that went well"""
    with boot() as g:
        g.run('systemctl enable kho-kexec.target')
        start(g)
        drop_in = '/run/systemd/system/kho-kexec.service.d'
        g.run(f'mkdir -p {drop_in}; (echo [Service]; '
              f'echo ExecStartPre=/bin/sleep 1000000) >{drop_in}/slow.conf; '
              f'systemctl daemon-reload')
        configure(g, f"'--reuse-cmdline /boot/{CURRENT}'")
        refused(g, 'systemctl start --no-block kexec.target; '
                   'until systemctl show -p SubState kho-kexec.service | '
                   'grep start-pre; do usleep 100000; done; '
                   'systemctl stop kho-kexec.service', "result 'signal'",
                waits=False)
        g.run(f'echo TimeoutStartSec=1 >>{drop_in}/slow.conf; '
              f'systemctl daemon-reload')
        refused(g, 'systemctl start kexec.target', "result 'timeout'")
        # What was suspended goes on when the shutdown cannot begin.
        g.run(f'rm {drop_in}/slow.conf; systemctl daemon-reload; '
              'systemctl mask --runtime systemd-kexec.service')
        refused(g, 'systemctl start kexec.target', 'is masked')
        g.run('systemctl unmask --runtime systemd-kexec.service')
        # Without all that it goes.
        make_initrd(g)
        *prepare, start_it = example()
        for command in prepare:
            g.run(command)
        next_kernel(g, start_it)


tap.main([kexec_target, gate, stopped], missing=missing())
