#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""The command, from outside: test-cli.py KHO TALLY-V1 TALLY-V2 TALLY-V3"""
import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, V1, V2, V3 = (os.path.abspath(p) for p in sys.argv[1:5])
DIR = tempfile.mkdtemp(prefix='kho-cli-')
RUN = f'{DIR}/run'
ENV = {**os.environ, 'KHO_RUNTIME_DIR': RUN}
PATIENCE = 20
VERBS = ('abi', 'check', 'inspect', 'kexec', 'list', 'manifest', 'matrix',
         'plan', 'run', 'update', 'verify')


def kho(*args, code=None, env=None, **options):
    """Runs the command; checks the exit code and the form of its errors."""
    done = subprocess.run([KHO, *args], capture_output=True, timeout=60,
                          env={**ENV, **(env or {})}, errors='replace',
                          **options)
    if code is not None:
        assert done.returncode == code, \
            f'exit {done.returncode}, not {code}: {done}'
    if done.returncode == 2 or args[0] == 'update' and done.returncode:
        assert re.fullmatch(r'(kho: [^\n]+: [^\n]+\n)+', done.stderr), done
    return done


def wait_for(what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f'waited in vain for {what.__name__}')


class Service:
    """A tally under kho run."""
    count = 0

    def __init__(self, program=V1, args=(), name=None, options=()):
        Service.count += 1
        self.name = name or f's{Service.count}'
        self.path = f'{DIR}/{self.name}.sock'
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.log = open(f'{DIR}/{self.name}.log', 'w+')
        self.run = start(
            KHO, 'run', '--name', self.name, *options, '--', program,
            self.path, *args, stdout=self.log, stderr=self.log)
        self.serving()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.run.poll() is None:
            self.run.terminate()
        self.run.wait(PATIENCE)
        self.log.close()

    def status(self):
        with open(f'{RUN}/{self.name}/status.json', encoding='utf-8') as f:
            return json.load(f)

    def serving(self, other_than=0):
        def served():
            assert self.run.poll() is None, (self.run.poll(), self.text())
            try:
                status = self.status()
            except FileNotFoundError:
                return False
            return status['state'] == 'serving' and \
                status['supervisor'] == self.run.pid and \
                status['pid'] != other_than and status
        return wait_for(served)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def ask(self, line, patience=PATIENCE):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(patience)
            s.connect(self.path)
            s.sendall(line.encode() + b'\n\n')
            s.shutdown(socket.SHUT_WR)
            reply = s.recv(100).decode().split()
        return [int(n) for n in reply]

    def number(self):
        return self.ask('get')[0]

    def pid(self):
        return self.ask('get')[3]

    def fds(self):
        return len(os.listdir(f'/proc/{self.run.pid}/fd'))


RUNNING = []


def start(*args, **options):
    """kho run in the background; ended with the tests, whatever happens."""
    run = subprocess.Popen(args, env=ENV, **options)
    RUNNING.append(run)
    return run


def end_all():
    for run in RUNNING:
        if run.poll() is None:
            run.terminate()
            run.wait(PATIENCE)


def file(name, data=b'', mode=0o644):
    path = f'{DIR}/{name}'
    with open(path, 'wb') as f:
        f.write(data)
    os.chmod(path, mode)
    return path


# The command as such

def verbs():
    """help, version, and what is not a verb"""
    assert 'Usage: kho' in kho('--help', code=0).stdout
    assert re.fullmatch(r'kho \d+\.\d+\.\d+\n', kho('--version', code=0).stdout)
    assert "did you mean 'kho inspect'" in kho('inspct', code=2).stderr
    assert "did you mean 'kho run'" in kho('rnu', code=2).stderr
    assert "see 'kho --help'" in kho('frobnicate', code=2).stderr
    assert 'unknown option --frob' in kho('--frob', code=2).stderr
    bare = subprocess.run([KHO], capture_output=True, text=True)
    assert bare.returncode == 2 and bare.stderr.startswith('kho: no verb')
    for verb in 'rehearse', '':
        assert 'unknown verb' in kho(verb, code=2).stderr


def helps():
    """every verb has --help with exit codes and an example"""
    for verb in VERBS:
        for option in '--help', '-h':
            text = kho(verb, option, code=0).stdout
            assert text.startswith(f'Usage: kho {verb}'), text
            assert 'Exit:' in text and 'Example: kho ' in text, text
            assert all(len(line) <= 80 for line in text.split('\n')), text


def options():
    """unknown options and missing values are errors that name them"""
    for verb in VERBS:
        err = kho(verb, '--frob', code=2).stderr
        assert f"{verb}: unknown option --frob: see 'kho {verb} --help'" in err
        assert 'unknown option -x' in kho(verb, '-x', code=2).stderr
    for verb in 'run', 'update':
        assert 'needs a value' in kho(verb, '--timeout', code=2).stderr
        for bad in '0', '-1', 'x', '', '1x', 'nan', 'inf', '1e9':
            err = kho(verb, '--timeout', bad, 'a', 'b', code=2).stderr
            assert 'not a number of seconds' in err, err


def arguments():
    """too few and too many arguments"""
    for args in (['run'], ['run', '--'], ['update'], ['update', 'x'],
                 ['update', 'x', V1, 'arg'], ['list', 'x'], ['check'],
                 ['check', V1], ['check', V1, V1, V1], ['manifest'],
                 ['inspect'], ['inspect', 'a', 'b']):
        assert '--help' in kho(*args, code=2).stderr, args


def full():
    """an answer that cannot be written is no answer"""
    with Service() as s, open('/dev/full', 'w') as full_file:
        for args in (['--help'], ['--version'], ['run', '--help'], ['list'],
                     ['list', '--json'], ['check', V1, V2],
                     ['manifest', V1], ['inspect', s.name]):
            done = subprocess.run([KHO, *args], stdout=full_file, env=ENV,
                                  stderr=subprocess.PIPE, text=True)
            assert done.returncode == 2, (args, done)
            assert 'No space left on device' in done.stderr, done


# kho run

def run_bad_program():
    """run: a program that is missing, a folder, not executable, not ELF"""
    before = os.path.exists(RUN) and os.listdir(RUN)
    cases = [
        (f'{DIR}/missing', 'No such file'),
        ('no-such-program-at-all', 'no such program in PATH'),
        (DIR, 'Is a directory'),
        (file('plain', b'\x7fELF'), 'cannot be executed'),
        (file('garbage', b'\0garbage', 0o755), 'Exec format error'),
        (file('script', b'#!/no/such/shell\n', 0o755), 'No such file'),
        ('/dev/null', 'cannot be executed'),
        ('', 'no such program'),
    ]
    for program, why in cases:
        done = kho('run', '--name', 'bad', '--', program, code=2)
        assert why in done.stderr, done
    assert not os.path.exists(f'{RUN}/bad')
    assert not before or os.listdir(RUN) == before


def run_bad_name():
    """run: names that are none"""
    for name in '', 'a b', 'a/b', '..', '.', 'x' * 49, 'ü':
        done = kho('run', '--name', name, '--', V1, f'{DIR}/x', code=2)
        assert 'cannot be a name' in done.stderr, done
    odd = f'{DIR}/a b'
    shutil.copy(V1, odd)
    assert 'with --name' in kho('run', odd, code=2).stderr
    with Service(name='x' * 48) as s:
        assert s.number() == 0


def run_taken():
    """run: a name that is taken, and two at the same time"""
    with Service() as s:
        done = kho('run', '--name', s.name, '--', V1, f'{DIR}/x', code=2)
        assert f'"{s.name}" is taken by process {s.run.pid}' in done.stderr
        s.ask('add 1')
        assert s.number() == 1
    for _ in range(5):
        both = [subprocess.Popen(
            [KHO, 'run', '--name', 'race', '--', 'sleep', '1'], env=ENV,
            stderr=subprocess.PIPE, text=True) for _ in range(2)]
        codes = sorted(p.wait() for p in both)
        errors = ''.join(p.stderr.read() for p in both)
        assert codes == [0, 2], (codes, errors)
        assert 'is taken by process' in errors, errors


def run_before_ready():
    """run: a program that ends before it was ready decides the exit code"""
    for script, code, why in (
            ('exit 7', 7, 'exited with status 7 before it was ready'),
            ('kill -9 $$', 137, 'killed by signal 9 (Killed) before')):
        done = kho('run', '--name', 'early', '--', 'sh', '-c', script,
                   code=code)
        assert why in done.stderr, done
    kho('run', '--name', 'early', '--', 'true', code=0)
    assert 'early' not in os.listdir(RUN)


def run_environment():
    """run: the program sees its environment, stdin, and the convention"""
    script = ('test $LISTEN_PID = $$ && test $LISTEN_FDS = 1 && '
              'test $LISTEN_FDNAMES = kho-control && test -S $NOTIFY_SOCKET && '
              'test $MARK = x && read line && echo "got $line" && '
              'test -S /dev/fd/3 && ls -l /dev/fd/ | wc -l')
    done = kho('run', '--name', 'env', '--', 'sh', '-c', script, code=0,
               env={'MARK': 'x', 'LISTEN_FDS': '9'}, input='hello\n')
    # stdin, stdout, stderr, control, the folder itself, and "total"
    assert done.stdout.split() == ['got', 'hello', '6'], done


def run_kill():
    """run: after kill -9 the state and the listening socket return"""
    with Service() as s:
        s.ask('add 41')
        s.ask('add 1')
        arena = json.loads(kho('inspect', '--json', s.name).stdout)['arena']
        for generation in range(1, 4):
            old = s.pid()
            os.kill(old, signal.SIGKILL)
            # A client that comes in between waits, and is served.
            number, now, _, pid = s.ask('get')
            assert (number, now) == (42, generation) and pid != old
        again = json.loads(kho('inspect', '--json', s.name).stdout)['arena']
        assert arena['id'] == again['id']
        assert re.search(r'kho: run: s\d+: killed by signal 9 \(Killed\), '
                         r'restarting \S+ with its 2.0 MiB', s.text())
        s.serving()
        assert s.status()['starts'] == 4


def run_exit():
    """run: exit 0 ends it, anything else starts the program again"""
    with Service() as s:
        s.ask('add 5')
        pid = s.pid()
        s.ask('exit 3')
        s.serving(pid)
        pid = s.pid()
        s.ask('abort')
        s.serving(pid)
        assert s.number() == 5
        assert 'exited with status 3, restarting' in s.text()
        s.ask('exit 0')
        assert s.run.wait(PATIENCE) == 0
        assert not os.path.exists(f'{RUN}/{s.name}')


def run_stop():
    """run: signals end program and supervisor, nothing is left"""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
                   signal.SIGQUIT):
        with Service() as s:
            pid = s.pid()
            s.run.send_signal(number)
            assert s.run.wait(PATIENCE) == 0
            assert not os.path.exists(f'/proc/{pid}')
            assert not os.path.exists(f'{RUN}/{s.name}')
            assert s.text() == (f'kho: run: {s.name}: {number.name} from '
                                f'process {os.getpid()}, ending {V1}\n')
    run = start('nohup', KHO, 'run', '--name', 'nohup', 'sleep', '60',
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
    wait_for(lambda: 'nohup' in kho('list').stdout)
    run.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert run.poll() is None
    run.terminate()
    assert run.wait(PATIENCE) == 0


def run_stubborn():
    """run: SIGKILL for a program that does not listen to SIGTERM"""
    run = start(KHO, 'run', '--name', 'mule', '--timeout', '0.3', '--', 'sh',
                '-c', 'trap "" TERM; echo on; while :; do sleep 0.05; done',
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout.readline() == 'on\n'
    run.terminate()
    assert run.wait(PATIENCE) == 137
    assert 'did not end within 0.3 s of SIGTERM' in run.stderr.read()
    run.stdout.close()
    run.stderr.close()


def run_crash_loop():
    """run: a program that keeps crashing is never given up"""
    with Service() as s:
        s.ask('add 9')
        for _ in range(4):
            s.ask('abort')
            s.serving(s.status()['pid'])
        assert s.number() == 9
        assert re.findall(r' in (\d\.\d) s', s.text()) == ['0.1', '0.2', '0.4']


def run_orphans():
    """run: what a dead program leaves behind is killed"""
    with Service() as s:
        s.ask('add 3')
        s.ask('fork')
        pid = s.pid()
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.number() == 3
        with open(f'/proc/{s.run.pid}/task/{s.run.pid}/children',
                  encoding='ascii') as f:
            assert f.read().split() == [str(s.pid())]
        s.ask('fork')
        s.run.terminate()
        assert s.run.wait(PATIENCE) == 0
        left = subprocess.run(
            f'ls -l /proc/[0-9]*/fd/1 2>/dev/null | grep -F {s.log.name}',
            shell=True, capture_output=True, text=True, check=False).stdout
        assert not left, left


def run_takeover():
    """run: the folder of a supervisor that was killed is taken over"""
    with Service() as s:
        orphan = s.pid()
        s.run.kill()
        s.run.wait()
        try:
            assert os.path.exists(f'{RUN}/{s.name}/status.json')
            assert s.name not in kho('list', code=0).stdout
            done = kho('inspect', s.name, code=2)
            assert 'neither a service in custody nor a file' in done.stderr
            assert 'no service' in kho('update', s.name, V2, code=2).stderr
            with Service(name=s.name) as again:
                assert again.number() == 0
        finally:
            os.kill(orphan, signal.SIGKILL)
        assert not os.path.exists(f'{RUN}/{s.name}')


def run_replaced():
    """run: what is started again is the version that ran"""
    program = f'{DIR}/program'
    shutil.copy(V1, program)
    with Service(program) as s:
        s.ask('add 8')
        os.unlink(program)
        shutil.copy(V3, program)
        for _ in range(2):
            pid = s.pid()
            os.kill(pid, signal.SIGKILL)
            s.serving(pid)
            assert s.ask('get')[0::2] == [8, 1]
        os.unlink(program)
        pid = s.pid()
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.number() == 8
        with open(f'/proc/{s.pid()}/comm', encoding='utf-8') as f:
            assert f.read() == 'program\n'
        assert kho('check', s.name, V2, code=0)


def run_directory():
    """run: a runtime directory that is not safe, missing, or too long"""
    open_to_all = f'{DIR}/open'
    os.mkdir(open_to_all)
    os.chmod(open_to_all, 0o777)
    long = f'{DIR}/' + 'l' * 100
    for path, why in ((open_to_all, 'can be written to by others'),
                      (f'{DIR}/no/such', 'cannot make the runtime directory'),
                      (file('no-folder'), 'Not a directory'),
                      (long, 'too long for a socket')):
        done = kho('run', '--name', 'x', '--', 'true', code=2,
                   env={'KHO_RUNTIME_DIR': path})
        assert why in done.stderr and 'KHO_RUNTIME_DIR' in done.stderr \
            or why == 'Not a directory', done
    assert os.listdir(long) == []
    kho('run', '--name', 'x', '--', 'true', code=0, cwd=DIR,
        env={'KHO_RUNTIME_DIR': 'relative'})


# What the supervisor stores and whom it believes

def store():
    """custody: fds are stored, returned, removed, dropped on hangup"""
    with Service() as s:
        none = s.fds()
        s.ask('store a')
        s.ask('store a')
        s.ask('store b')
        assert wait_for(lambda: s.fds() == none + 3)
        pid = s.pid()
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.fds() == none + 3
        s.ask('hangup c')
        time.sleep(0.2)
        assert s.fds() == none + 3
        s.ask('drop b')
        assert wait_for(lambda: s.fds() == none + 2)


def store_arena():
    """custody: one arena, whatever a program sends"""
    program = file('arenas.py', b'''#!/usr/bin/env python3
import os, socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(os.environ['NOTIFY_SOCKET'])
for name in 'kho-arena', 'kho-arena', 'kho-control', '', 'a:b', 'n' * 256:
    fd = os.memfd_create(name[:20])
    socket.send_fds(sock, [b'FDSTORE=1\\nFDNAME=' + name.encode()], [fd])
sock.send(b'READY=1\\n')
print(os.environ['LISTEN_FDNAMES'], flush=True)
sys.exit(os.read(0, 1) != b'2')
''', 0o755)
    run = start(KHO, 'run', '--name', 'arenas', program, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
    out, err = run.communicate('12', timeout=PATIENCE)
    assert out == 'kho-control\nkho-control:kho-arena\n', (out, err)
    assert err.count('a second kho-arena') == 3, err
    assert err.count('a second kho-control') == 2, err
    assert err.count('its name is empty, too long') == 6, err
    assert run.returncode == 0


def store_limit():
    """custody: at most 1024 fds, and it says so"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 4096:
        raise tap.Skip('needs a higher hard limit of open files')
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    with Service() as s:
        s.ask('add 6')
        s.ask('many 1030')
        wait_for(lambda: 'fd "many" is not kept: there are 1024 already' in
                 s.text())
        assert s.number() == 6
        # It can be started again, with a usual limit of open files.
        pid = s.pid()
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.number() == 6


def believe():
    """custody: a stranger's messages change nothing"""
    with Service() as s:
        s.ask('add 2')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            for text in (f'FDSTOREREMOVE=1\nFDNAME=kho-arena\n',
                         f'MAINPID={os.getpid()}\nREADY=1\n', 'x' * 9000, ''):
                sock.sendto(text.encode(), f'{RUN}/{s.name}/notify')
        pid = s.pid()
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.number() == 2


def hammer():
    """custody: killed 30 times at random, every acknowledged add is there"""
    with Service() as s:
        acked, unsure, stop = [0], [0], threading.Event()

        def add():
            while not stop.is_set():
                try:
                    answered = s.ask('add 1')
                except ConnectionError:
                    answered = False
                if answered:
                    acked[0] += 1
                else:
                    unsure[0] += 1

        thread = threading.Thread(target=add)
        thread.start()
        for _ in range(30):
            pid = s.serving()['pid']
            time.sleep(random.random() / 20)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            s.serving(pid)
            if s.status()['starts'] % 5 == 0:
                time.sleep(3.1)
        stop.set()
        thread.join()
        assert acked[0] <= s.number() <= acked[0] + unsure[0], \
            (s.number(), acked, unsure)


# kho update

def update():
    """update: to the next version, with state, socket, and custody"""
    with Service() as s:
        s.ask('add 7')
        old = s.pid()
        done = kho('update', s.name, V2, code=0)
        assert re.fullmatch(
            rf'{s.name}: updated to {re.escape(V2)} \(pid {old} -> \d+\), '
            r'frozen \d+\.\d ms\n', done.stdout), done
        s.serving(old)
        assert s.ask('get')[:3] == [7, 1, 2]
        pid = s.pid()
        assert s.status()['pid'] == pid
        assert s.status()['program'] == V2
        # Custody has followed: what is started again is the successor.
        os.kill(pid, signal.SIGKILL)
        s.serving(pid)
        assert s.ask('get')[:3] == [7, 2, 2]
        done = json.loads(kho('update', '--json', s.name, V2, code=0).stdout)
        assert (done['schema'], done['version']) == ('kho-update', 1)
        assert done['result'] == 'updated' and done['error'] is None
        assert done['pid'] == s.pid() and done['report']['compatible']


def update_crash_loop():
    """update: brings a fixed program when the old one dies at each start"""
    def down():
        return s.status()['state'] == 'restarting' and not s.status()['pid']

    def replaced():
        # It may be started again, and die, while it is asked.
        done = kho('update', s.name, V2)
        return done if done.returncode != 2 else None

    with Service() as s:
        s.ask('add 666')
        s.ask('abort')
        wait_for(lambda: 'in 0.8 s' in s.text())
        wait_for(down)
        done = kho('update', s.name, V3, code=1)
        assert 'tally' in done.stdout and 'incompatible' in done.stdout, done
        assert 'nothing serves' in done.stderr, done
        wait_for(down)
        done = wait_for(replaced)
        assert done.returncode == 0 and f'updated to {V2}' in done.stdout, done
        s.serving()
        assert s.ask('get')[0] == 666 and s.ask('get')[2] == 2
        status = s.status()
        assert status['program'] == V2 and status['argv'] == [V2, s.path]
        # It is the program from then on.
        os.kill(s.pid(), signal.SIGKILL)
        s.serving(status['pid'])
        assert s.ask('get')[0] == 666 and s.ask('get')[2] == 2


def update_twice():
    """update: of two at once the second replaces what the first brought"""
    with Service() as s:
        s.ask('add 7')
        old = s.pid()
        both = [subprocess.Popen([KHO, 'update', '--json', s.name, V2],
                                 env=ENV, stdout=subprocess.PIPE)
                for _ in range(2)]
        done = [json.loads(p.communicate(timeout=60)[0]) for p in both]
        done.sort(key=lambda d: d['old_pid'] != old)
        assert [d['result'] for d in done] == ['updated'] * 2, done
        assert done[0]['old_pid'] == old, done
        assert done[1]['old_pid'] == done[0]['pid'], done
        s.serving(done[0]['pid'])
        assert s.ask('get') == [7, 2, 2, done[1]['pid']]


def update_refused():
    """update: an incompatible successor is refused, nothing is lost"""
    with Service() as s:
        s.ask('add 7')
        old = s.pid()
        done = kho('update', s.name, V3, code=1)
        assert 'tally' in done.stdout and 'incompatible' in done.stdout
        assert f'process {old} serves on' in done.stderr
        done = json.loads(kho('update', '--json', s.name, V3, code=1).stdout)
        assert done['result'] == 'aborted' and done['errno'] and done['error']
        assert done['report']['compatible'] is False
        assert s.pid() == old and s.number() == 7
        # v2 writes its own version from then on: no way back.
        kho('update', s.name, V2, code=0)
        s.serving(old)
        kho('update', s.name, V1, code=1)
        assert s.ask('get')[:3] == [7, 1, 2]


def update_mishaps():
    """update: a successor that crashes, exits or hangs is given up"""
    with Service() as s:
        s.ask('add 7')
        old = s.pid()
        for mishap, why in (('crash', 'killed by signal 6'),
                            ('exit', 'exit code 7'), ('hang', 'within')):
            done = kho('update', '--timeout', '0.5', s.name, V2, '--', s.path,
                       mishap, code=1)
            assert why in done.stderr, done
            assert s.pid() == old and s.number() == 7
            s.ask('add 0')
        kho('update', s.name, V2, '--', s.path, code=0)
        s.serving(old)
        assert s.status()['argv'] == [V2, s.path]


def update_bad_program():
    """update: a program that is no successor at all"""
    with Service() as s:
        pid = s.pid()
        shutil.copy(V2, f'{DIR}/not-executable')
        os.chmod(f'{DIR}/not-executable', 0o644)
        for program, why in (
                (f'{DIR}/missing', 'No such file'),
                ('no-such-program-at-all', 'no such program in PATH'),
                (DIR, 'Is a directory'),
                (f'{DIR}/not-executable', 'cannot be executed'),
                (file('text', b'#!/bin/sh\n', 0o755), 'ELF'),
                (file('cut', open(V2, 'rb').read()[:3000], 0o755), ''),
                ('/bin/true', 'manifest')):
            done = kho('update', s.name, program, code=2)
            assert why in done.stderr, done
            done = kho('update', '--json', s.name, program, code=2)
            assert json.loads(done.stdout)['result'] == 'unknown'
        assert s.pid() == pid
        assert 'no service "none"' in kho('update', 'none', V2, code=2).stderr
        assert 'no service' in kho('update', '../x', V2, code=2).stderr
        done = kho('update', s.name, os.path.basename(V2), code=0,
                   env={'PATH': os.path.dirname(V2)})
        s.serving(pid)
        pid = s.pid()
        kho('update', s.name, './' + os.path.basename(V2), code=0,
            cwd=os.path.dirname(V2))
        s.serving(pid)


def update_busy():
    """update: a program that does not answer"""
    with Service() as s:
        pid = s.pid()
        threading.Thread(target=s.ask, args=('busy 6',)).start()
        time.sleep(0.1)
        done = kho('update', '--timeout', '0.1', s.name, V2, code=2)
        assert 'no answer in 5 s: the program is busy' in done.stderr, done
        assert s.pid() == pid


def update_death():
    """update: the old program is killed in the middle"""
    with Service() as s:
        s.ask('add 7')
        old = s.pid()
        asked = subprocess.Popen(
            [KHO, 'update', s.name, V2, '--', s.path, 'hang'], env=ENV,
            stderr=subprocess.PIPE, text=True)
        time.sleep(0.4)
        os.kill(old, signal.SIGKILL)
        assert asked.wait(PATIENCE) == 2
        error = asked.stderr.read()
        asked.stderr.close()
        assert f'process {old} died meanwhile; the service is ' \
            'serving now' in error, error
        assert s.ask('get')[0::2] == [7, 1]


def update_no_kho():
    """update: a program that knows nothing of all this"""
    run = start(KHO, 'run', '--name', 'dull', '--', 'sleep', '60',
                stderr=subprocess.DEVNULL)
    wait_for(lambda: 'dull' in kho('list').stdout)
    kho('update', '--timeout', '0.1', 'dull', V2, code=2)
    assert 'no arena' in kho('inspect', 'dull', code=2).stderr
    assert 'no arena' in kho('check', 'dull', V2, code=2).stderr
    assert 'manifest' in kho('manifest', 'dull', code=2).stderr
    run.terminate()
    assert run.wait(PATIENCE) == 0


def update_replaced():
    """update: SIGTERM and kill -9 right after an update reach the successor"""
    for _ in range(10):
        with Service() as s:
            old = s.pid()
            kho('update', s.name, V2, code=0)
            if _ % 2:
                s.run.terminate()
                assert s.run.wait(PATIENCE) == 0
            else:
                os.kill(s.serving(old)['pid'], signal.SIGKILL)
                assert s.ask('get')[2] == 2


# kho list

def lists():
    """list: nothing, several, what does not belong there, JSON"""
    empty = {'KHO_RUNTIME_DIR': f'{DIR}/nowhere'}
    assert 'Nothing is in custody' in kho('list', code=0, env=empty).stdout
    none = json.loads(kho('list', '--json', code=0, env=empty).stdout)
    assert none == {'schema': 'kho-list', 'version': 1, 'services': []}
    with Service(name='zeta') as z, Service(name='alpha') as a:
        os.makedirs(f'{RUN}/stale', exist_ok=True)
        os.makedirs(f'{RUN}/not a name', exist_ok=True)
        file('run/file')
        file('run/stale/lock', b'1\n')
        lines = kho('list', code=0).stdout.splitlines()
        assert lines[0].split() == ['NAME', 'PID', 'STATE', 'GENERATION',
                                    'ARENA', 'PROGRAM']
        assert [line.split()[0] for line in lines[1:]] == ['alpha', 'zeta']
        assert lines[1].split()[1:] == [str(a.pid()), 'serving', '0', '2.0',
                                        'MiB', V1]
        done = json.loads(kho('list', '--json', code=0).stdout)
        assert [s['name'] for s in done['services']] == ['alpha', 'zeta']
        first = done['services'][0]
        assert first['arena'] == {'generation': 0, 'file_size': 2 << 20}
        assert first['argv'] == [V1, a.path] and first['starts'] == 1
        assert first['supervisor'] == a.run.pid
        z.number()


def not_utf8():
    """JSON is valid whatever a program is called"""
    program = os.fsencode(DIR) + b'/tall\xff\xc3'
    shutil.copy(os.fsencode(V1), program)
    with Service(os.fsdecode(program), name='odd') as s:
        assert '\ufffd' in s.status()['program']
        for args in (['list'], ['inspect', 'odd'], ['manifest', 'odd'],
                     ['update', 'odd', os.fsdecode(program)]):
            done = subprocess.run([KHO, *args, '--json'], env=ENV,
                                  capture_output=True, check=True)
            json.loads(done.stdout.decode('utf-8', 'strict'))


# kho manifest, kho check

def manifests():
    """manifest: files, services, several, and what has none"""
    done = kho('manifest', V1, V2, code=0)
    assert V1 in done.stdout and V2 in done.stdout
    assert re.search(r'^  tally +2 +1-2 ', done.stdout, re.M), done
    documents = [json.loads(line) for line in
                 kho('manifest', '--json', V1, V2, code=0).stdout.splitlines()]
    assert [d['schema'] for d in documents] == ['kho-manifest'] * 2
    with Service(name='m') as s:
        assert V1 in kho('manifest', 'm', code=0).stdout
        # A name is a service first; a path is a file.
        shutil.copy(V3, f'{DIR}/m')
        assert V1 in kho('manifest', 'm', code=0, cwd=DIR).stdout
        assert './m' in kho('manifest', './m', code=0, cwd=DIR).stdout
        s.number()
    assert re.search('^m\n', kho('manifest', 'm', code=0, cwd=DIR).stdout)
    for target, why in ((f'{DIR}/missing', 'No such file'),
                        ('nothing', 'neither a file, nor a program in PATH'),
                        (DIR, 'directory'), ('/bin/true', 'manifest'),
                        (file('notelf', b'hello'), 'ELF'),
                        (file('nothing-in-it'), 'ELF')):
        assert why in kho('manifest', target, code=2).stderr, target
    done = kho('manifest', f'{DIR}/missing', V1, code=2)
    assert V1 in done.stdout


def checks():
    """check: files and services, both ways, JSON"""
    assert 'compatible' in kho('check', V1, V2, code=0).stdout
    assert 'incompatible' in kho('check', V1, V3, code=1).stdout
    kho('check', V2, V1, code=1)
    kho('check', V3, V1, code=1)
    for good in V1, 'none', f'{DIR}/missing', '/bin/true':
        for bad in 'none', f'{DIR}/missing', '/bin/true':
            kho('check', good, bad, code=2)
            kho('check', bad, good, code=2)
    with Service(V2, name='c') as s:
        report = json.loads(kho('check', '--json', 'c', V1, code=1).stdout)
        assert report['schema'] == 'kho-report' and not report['compatible']
        assert report['components'][0]['name'] == 'tally'
        names = {c['name'] for c in report['components']}
        assert {'arena', 'kho', 'radix', 'tally', 'update'} == names
        assert report['components'][0]['writer'] == {'min': 2, 'max': 2}
        kho('check', 'c', 'c', code=0)
        kho('check', V1, 'c', code=0)
        # What check says is what update does.
        kho('update', 'c', V1, code=1)
        assert s.number() == 0


def color():
    """colours on a terminal only, and not with NO_COLOR"""
    def on_terminal(env):
        main, sub = os.openpty()
        done = subprocess.run([KHO, 'check', V1, V3], stdout=sub, env=env)
        os.close(sub)
        text = os.read(main, 65536)
        os.close(main)
        assert done.returncode == 1
        return b'\x1b[' in text

    env = {k: v for k, v in ENV.items() if k != 'NO_COLOR'}
    assert on_terminal({**env, 'TERM': 'xterm'})
    assert not on_terminal({**env, 'TERM': 'xterm', 'NO_COLOR': '1'})
    assert not on_terminal({**env, 'TERM': 'dumb'})
    assert '\x1b[' not in kho('check', V1, V3, code=1).stdout


# kho inspect

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def superblock(data, version=1, shift=12):
    """An arena with another version or page size, and a valid checksum."""
    head = data[:8] + struct.pack('<II', version, shift) + data[16:36]
    return head + struct.pack('<I', crc32c(head)) + data[40:]


def inspects():
    """inspect: a name, a process, a fd, a file: all say the same"""
    with Service() as s:
        s.ask('add 1')
        done = json.loads(kho('inspect', '--json', s.name, code=0).stdout)
        assert (done['schema'], done['version']) == ('kho-inspect', 1)
        tree = done['root']['subtrees']
        assert [t['name'] for t in tree] == ['tally']
        assert tree[0]['compatible'] == 'tally-v1' and tree[0]['size'] == 8
        assert done['root']['compatible'] == 'kho-v4;radix-v1'
        assert done['preserved']['bytes'] == 4096 * done['preserved']['pages']
        assert done['preserved']['tracker_pages'] == 6
        fd = s.status()['arena']
        copy = f'{DIR}/arena'
        shutil.copy(f'/proc/{s.run.pid}/fd/{fd}', copy)
        for state in (f'pid:{s.run.pid}', f'pid:{s.run.pid}:{fd}',
                      f'pid:{s.pid()}', copy):
            other = json.loads(kho('inspect', '--json', state, code=0).stdout)
            assert other['state'] == state
            assert (other['root'], other['preserved']) == \
                (done['root'], done['preserved'])
        text = kho('inspect', s.name, code=0).stdout
        for word in (done['arena']['id'], 'tally-v1', 'kho-v4;radix-v1',
                     'generation  0', 'Subtrees: 1'):
            assert word in text, (word, text)


def inspect_bad():
    """inspect: files that are no arena, or a damaged one"""
    with Service() as s:
        copy = f'{DIR}/arena'
        shutil.copy(f'/proc/{s.run.pid}/fd/{s.status()["arena"]}', copy)
    with open(copy, 'rb') as f:
        data = f.read()
    assert superblock(data)[:40] == data[:40]
    phys = json.loads(kho('inspect', '--json', copy).stdout)['root']['phys']
    cut = data[:4096]
    for name, content, why in (
            ('empty', b'', ''), ('zeros', bytes(len(data)), 'zero'),
            ('foreign', b'hello' * 1000, ''), ('short', data[:30], ''),
            ('page', cut, ''), ('truncated', data[:len(data) // 2], ''),
            ('version', superblock(data, version=2), 'v2'),
            ('pagesize', superblock(data, shift=13), ''),
            ('flipped', data[:20] + b'\xff' + data[21:], 'CRC'),
            ('noroot', data[:56] + bytes(80) + data[136:], 'root slots'),
            ('nofdt', data[:phys] + bytes(64) + data[phys + 64:], '')):
        done = kho('inspect', file(name, content), code=2)
        assert why in done.stderr and 'rror 0' not in done.stderr, done
        kho('inspect', '--json', f'{DIR}/{name}', code=2)
    for state, why in (
            (f'{DIR}/missing', 'No such file'), ('none', 'neither a service'),
            (DIR, ''), ('/dev/null', ''), (V1, ''), ('pid:', 'is not pid:'),
            ('pid:x', 'is not pid:'), ('pid:1:', 'is not pid:'),
            ('pid:0', 'is not pid:'), ('pid:1:2:3', 'is not pid:'),
            ('pid:999999999', 'No such'),
            (f'pid:{os.getpid()}', 'has no arena'),
            (f'pid:{os.getpid()}:9999', 'No such file')):
        done = kho('inspect', state, code=2)
        assert why in done.stderr, (state, done)


def inspect_live():
    """inspect: of an arena that changes hands all the time"""
    with Service(V2) as s:
        stop = threading.Event()

        def change():
            while not stop.is_set():
                kho('update', s.name, V2, code=0)

        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(40):
            kho('inspect', s.name, code=0)
            kho('list', code=0)
        stop.set()
        thread.join()


def control(folder, request, *fds):
    """A connection to a service's control socket, and the answer."""
    text = json.dumps(request).encode() if request else b''
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(PATIENCE)
    sock.connect(f'{folder}/control')
    socket.send_fds(sock, [text], fds)
    return sock, json.loads(sock.recv(1 << 20))


def received(pid):
    """How many of the fds that are no session a process has open."""
    def name(fd):
        try:
            return os.readlink(f'/proc/{pid}/fd/{fd}')
        except FileNotFoundError:
            return ''  # closed meanwhile
    return sum('no session' in name(fd) for fd in os.listdir(f'/proc/{pid}/fd'))


def suspend():
    """suspend: what is no session is refused, and the service serves on"""
    memfd = os.memfd_create('no session')
    manifest = json.loads(kho('manifest', '--json', V1, code=0).stdout)
    without = {name: {**manifest, 'target': 'next', 'components': [
        c for c in manifest['components'] if c['name'] != name]}
               for name in ('tally', 'fdnames')}
    with Service() as s:
        s.ask('add 3')
        # How it gets through a kexec is kho run's business.
        path = file('without.json', json.dumps(without['fdnames']).encode())
        kho('check', s.name, path, code=0)
        shown = kho('check', s.name, V2, code=0).stdout
        assert shown.startswith(f'compatible: {s.name} -> {V2}\n'), shown
        # One that a person wrote may have no target.
        nameless = {k: v for k, v in manifest.items() if k != 'target'}
        sock, answer = control(f'{RUN}/{s.name}', {'request': 'check',
                                                   'manifest': nameless})
        sock.close()
        assert answer['report']['to'] == 'the successor', answer
        for fds, more, error, text in (
                ([], {}, errno.EINVAL, 'no session'),
                ([memfd], {}, errno.ENOTTY, 'not a session'),
                ([memfd, memfd], {}, errno.ENOTTY, 'not a session'),
                ([memfd], {'manifest': manifest},
                 errno.ENOTTY, 'not a session'),
                ([memfd], {'manifest': {}}, errno.EBADMSG, ''),
                ([memfd], {'manifest': without['tally']},
                 errno.EPROTONOSUPPORT, 'next cannot take the state over'),
                ([memfd], {'manifest': without['fdnames']},
                 errno.ENOTTY, 'not a session')):
            sock, answer = control(f'{RUN}/{s.name}',
                                   {'request': 'suspend', **more}, *fds)
            assert answer['result'] == 'aborted', answer
            assert answer['errno'] == error, answer
            assert text in answer['error'], answer
            assert s.number() == 3
            sock.close()
        sock, answer = control(f'{RUN}/{s.name}', None, memfd)
        assert answer['errno'] == errno.EINVAL, answer
        sock.close()
        assert received(s.pid()) == 0
        s.ask('add 1')
        assert s.number() == 4
    os.close(memfd)


def suspend_crash_loop():
    """suspend: while no program runs, kho run refuses what is no session"""
    memfd = os.memfd_create('no session')
    broken = file('broken')
    script = file('program', f"""#!/bin/sh
[ ! -e {broken} ] || exit 1
exec {V1} "$@"
""".encode(), 0o755)
    os.unlink(broken)
    with Service(script) as s:
        s.ask('add 5')
        pid = s.pid()
        file('broken')
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: s.status()['state'] == 'restarting')
        request = {'request': 'suspend'}
        for what, fds, error in (
                (request, [], errno.EINVAL), (request, [memfd], errno.ENOTTY),
                (request, [memfd, memfd], errno.ENOTTY),
                (None, [memfd], errno.EINVAL)):
            sock, answer = control(f'{RUN}/{s.name}', what, *fds)
            assert answer['result'] == 'aborted', answer
            assert answer['errno'] == error, answer
            sock.close()
        assert received(s.run.pid) == 0
        os.unlink(broken)
        s.serving(pid)
        assert s.number() == 5
    os.close(memfd)


def kexecs():
    """kexec: bad arguments, and a kernel that cannot be had: exit 2"""
    for args, text in (
            (['--next', 'a', 'image'], '--next a is not NAME=PROGRAM'),
            (['--next', '=a', 'image'], '--next =a is not NAME=PROGRAM'),
            (['--next', 'a=', 'image'], '--next a= is not NAME=PROGRAM'),
            (['--next', f'a={DIR}/none', 'image'], f'{DIR}/none'),
            (['--next', f'a={file("text", b"text")}', 'image'], 'text'),
            (['--timeout', '0', 'image'], '--timeout 0'),
            (['--timeout', 'x', 'image'], '--timeout x'),
            (['--cmdline', 'a', '--reuse-cmdline', 'image'], 'not both'),
            (['--hold', 'image'], 'not both'),
            (['--capture', 'image'], 'takes no IMAGE'),
            ([], 'takes one IMAGE'),
            (['a', 'b'], 'takes one IMAGE')):
        done = kho('kexec', '--load-only', *args, code=2)
        assert text in done.stderr, (args, done)
    done = kho('kexec', '--load-only', '--json', f'{DIR}/none', code=2)
    document = json.loads(done.stdout)
    assert document['schema'] == 'kho-kexec', document
    assert document['result'] == 'failed', document
    assert document['error'] in done.stderr, (document, done)
    assert document['report'] is None and document['services'] == [], document


def permission():
    """another user's service: no look, no update, no harm"""
    if os.geteuid():
        raise tap.Skip('needs root')
    with Service() as s:
        number = s.fds()
        os.chmod(DIR, 0o755)
        for args in (['inspect', f'pid:{s.run.pid}'], ['inspect', s.name],
                     ['update', s.name, V2], ['check', s.name, V2],
                     ['list']):
            kho(*args, code=2, user='nobody')
        assert s.fds() == number
        assert kho('list', code=0).stdout.count(s.name) >= 1


TESTS = [verbs, helps, options, arguments, full, run_bad_program, run_bad_name,
         run_taken, run_before_ready, run_environment, run_kill, run_exit,
         run_stop, run_stubborn, run_crash_loop, run_orphans, run_takeover,
         run_replaced, run_directory, store, store_arena,
         store_limit, believe, hammer,
         update, update_crash_loop, update_twice, update_refused, update_mishaps, update_bad_program,
         update_busy, update_death, update_no_kho, update_replaced, lists,
         not_utf8, manifests, checks, color, inspects, inspect_bad,
         inspect_live, suspend, suspend_crash_loop, kexecs, permission]


# Whoever runs us may have had them ignored, which goes on to all children.
for number in signal.SIGINT, signal.SIGHUP, signal.SIGQUIT:
    signal.signal(number, lambda *_: sys.exit(1))
try:
    tap.main(TESTS, sys.argv[5:], after=end_all)
finally:
    shutil.rmtree(DIR, ignore_errors=True)
