#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What people see: test-output.py KHO TALLY-V1 TALLY-V2 TALLY-V3

V2 needs the shared library.
"""
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO, V1, V2, V3 = (os.path.abspath(p) for p in sys.argv[1:5])
DIR = tempfile.mkdtemp(prefix='kho-output-')
RUN = f'{DIR}/run'
ENV = {**os.environ, 'KHO_RUNTIME_DIR': RUN, 'TERM': 'xterm', 'NO_COLOR': '1'}
PATIENCE = 20
# What a terminal obeys, or what no UTF-8 has.
HOSTILE = 'a\x1b[31m\x07b\x7f\u009b2Jc\u0085d'.encode() + b'\x9b\xff'
OBEYED = re.compile(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]')


def kho(*args, code, **options):
    done = subprocess.run([KHO, *args], capture_output=True, timeout=60,
                          env=ENV, **options)
    assert done.returncode == code, f'exit {done.returncode}: {done}'
    return done.stdout.decode(), done.stderr.decode()


def on_terminal(columns, *args, code):
    """The same, on a terminal of that width"""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    mode = termios.tcgetattr(theirs)
    mode[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    with subprocess.Popen([KHO, *args], stdout=theirs, stderr=theirs,
                          env=ENV) as run:
        os.close(theirs)
        shown = b''
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:
            pass  # the end, on Linux
        assert run.wait(PATIENCE) == code, shown
    os.close(ours)
    return shown.decode()


def file(name, data, mode=0o644):
    path = os.path.join(DIR.encode(), os.fsencode(name))
    with open(path, 'wb') as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(path, mode)
    return os.fsdecode(path)


def manifest(name, **components):
    """components: name=(write, read)"""
    def versions(pair):
        return pair and {'min': pair[0], 'max': pair[1]}
    return file(name, json.dumps({
        'schema': 'kho-manifest', 'version': 1, 'components': [
            {'name': c, 'write': versions(write), 'read': versions(read)}
            for c, (write, read) in components.items()]}))


def wait_for(what):
    end = time.monotonic() + PATIENCE
    while not (result := what()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return result


class Service:
    """A tally under kho run"""
    def __init__(self, name, *before, program=V1, stderr=None):
        self.name = name
        self.log = open(f'{DIR}/{name}.log', 'w+')
        self.run = subprocess.Popen(
            [*before, KHO, 'run', '--name', name, '--', program,
             f'{DIR}/{name}.sock'], stdout=self.log,
            stderr=stderr or self.log, env=ENV, cwd=DIR)
        wait_for(lambda: self.status()['state'] == 'serving')

    def status(self):
        try:
            with open(f'{RUN}/{self.name}/status.json', encoding='utf-8') as f:
                return json.load(f)
        except FileNotFoundError:
            return {'state': None}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.run.poll() is None:
            self.run.terminate()
        self.run.wait(PATIENCE)
        self.log.close()


# Lines

def words():
    """a terminal: broken between words at any width; a pipe: not at all"""
    many = {f'component{i}': ((1, 1), (1, 1)) for i in range(6)}
    a = manifest('a.json', **many, app=((1, 1), (1, 1)))
    b = manifest('b.json', **many, app=((3, 3), (3, 3)))
    c = manifest('c.json', **many, app=((1, 3), (1, 3)))
    for args, code in ((['check', a, b], 1), (['plan', a, b], 1),
                       (['plan', a, b, '--via', c], 0),
                       (['matrix', a, b, c], 1), (['manifest', V1], 0),
                       (['manifest', f'{DIR}/none', a], 2),
                       (['check', a], 2), (['run', '--name', '/', V1], 2),
                       (['list'], 0)):
        piped = ''.join(kho(*args, code=code))
        for columns in 30, 60, 80, 200:
            shown = on_terminal(columns, *args, code=code)
            if args[0] != 'matrix':
                assert sorted(shown.split()) == sorted(piped.split()), \
                    (columns, shown, piped)
            for line in shown.splitlines():
                # Only a word that is too long for any line, or a table's row.
                alone = len(line) - len(line.split(' ')[-1]) <= 16
                assert len(line) <= columns or alone or \
                    '  ' in line.strip(), (columns, line)
        for line in piped.splitlines():
            assert line == line.rstrip(), line


def controls():
    """names of any bytes: nothing that a terminal obeys gets there"""
    os.makedirs(f'{DIR}/odd', exist_ok=True)
    name = b'odd/' + HOSTILE
    with open(manifest('plain.json', app=((1, 1), (1, 1))), 'rb') as f:
        odd = file(name, f.read())
    bad = file(name + b'.bad', b'{"schema": ')
    prog = file(name + b'.elf', b'')
    shutil.copy(V1, prog)
    for args, code in ((['manifest', odd], 0), (['check', odd, odd], 0),
                       (['matrix', odd, prog], 1), (['plan', odd, odd], 0),
                       (['plan', odd, prog], 1), (['manifest', prog], 0),
                       (['manifest', bad], 2), (['verify', bad], 2),
                       (['inspect', odd], 2), (['update', odd, odd], 2),
                       (['check', odd, 'x\x1b[1m'], 2), (['\x1b[1m'], 2),
                       (['run', '--name', '\x1b', prog], 2)):
        for json_too in [], ['--json']:
            if json_too and (args[0] == 'run' or len(args) == 1):
                continue
            for text in kho(*args, *json_too, code=code):
                assert not OBEYED.search(text), (args, text)
    shown, _ = kho('manifest', odd, code=0)
    assert '/a?[31m?b??2Jc?d??\n' in shown, shown


def marks():
    """a byte order mark is named"""
    text = '{"schema": "kho-manifest", "version": 1, "components": []}'
    for encoding, name in (('utf-8-sig', 'a byte order mark'),
                           ('utf-16', 'the byte order mark of UTF-16'),
                           ('utf-16-be', 'the byte order mark of UTF-16')):
        data = text.encode(encoding)
        if encoding == 'utf-16-be':
            data = b'\xfe\xff' + data
        path = file('mark.json', data)
        for args in (['manifest', path], ['check', path, V1],
                     ['check', '--profile', path, V1, V1],
                     ['abi', '--diff', path]):
            _, err = kho(*args, code=2)
            assert f'{path}: begins with {name}, ' in err, err
            assert err.count('\n') == 1, err


# What a word on the command line means

def missing_library():
    """a library that is not found is named, and nothing else is said"""
    os.makedirs(f'{DIR}/moved', exist_ok=True)
    moved = f'{DIR}/moved/tally'
    shutil.copy(V2, moved)
    data = open(moved, 'rb').read()
    # As after a move: where it looks, it is not.
    data = re.sub(rb'\$ORIGIN/[^\0]*\0|/[^\0]*/lib:[^\0]*\0',
                  lambda m: b'/nowhere'.ljust(len(m[0]), b'\0'), data)
    file('moved/tally', data, 0o755)
    with Service('moved') as s:
        for args in (['manifest', moved], ['check', V1, moved],
                     ['check', moved, V1], ['check', s.name, moved],
                     ['update', s.name, moved], ['matrix', moved, V1],
                     ['plan', V1, moved]):
            out, err = kho(*args, code=2)
            assert re.fullmatch(r'kho: \w+: [^\n]* needs, which is not found: '
                                r'libkho\.so\.\d[^\n]*\n', err), err
            assert 'unknown' not in out and 'build it with' not in out, out


def in_path():
    """a program in PATH is found by all that take one; two are too many"""
    os.makedirs(f'{DIR}/bin', exist_ok=True)
    os.makedirs(f'{DIR}/here', exist_ok=True)
    shutil.copy(V1, f'{DIR}/bin/tally-in-path')
    env = {**ENV, 'PATH': f'{DIR}/bin:{ENV["PATH"]}'}

    def run(*args, code, cwd=DIR):
        done = subprocess.run([KHO, *args], capture_output=True, text=True,
                              env=env, cwd=cwd)
        assert done.returncode == code, done
        return done
    with Service('path') as s:
        for args in (['check', s.name], ['update', s.name],
                     ['check', 'tally-in-path'], ['manifest'], ['matrix'],
                     ['plan', 'tally-in-path']):
            run(*args, 'tally-in-path', code=0)
    shown = run('manifest', 'tally-in-path', code=0).stdout
    assert shown.startswith(f'{DIR}/bin/tally-in-path\n'), shown
    # What is here is not what update would take.
    shutil.copy(V3, f'{DIR}/here/tally-in-path')
    err = run('check', V1, 'tally-in-path', code=2, cwd=f'{DIR}/here').stderr
    assert f'say which is meant: ./tally-in-path or {DIR}/bin/tally-in-path' \
        in err, err
    run('manifest', './tally-in-path', code=0, cwd=f'{DIR}/here')
    run('manifest', 'tally-in-path', code=0, cwd=f'{DIR}/bin')
    err = run('check', V1, 'tally-nowhere', code=2).stderr
    assert 'neither a file, nor a program in PATH, nor a service' in err, err


def paths():
    """paths are shown as short as they are"""
    with Service('paths', program=os.path.relpath(V1, DIR)):
        pass
    env = {**ENV, 'KHO_RUNTIME_DIR': './/run/.//odd'}
    os.makedirs(f'{DIR}/run', exist_ok=True)
    os.makedirs(f'{DIR}/tools', exist_ok=True)
    shutil.copy(V1, f'{DIR}/tools/one')
    run = subprocess.Popen([KHO, 'run', '--name', 'odd', '--',
                            './/tools/././one', f'{DIR}/odd.sock'],
                           stderr=subprocess.PIPE, text=True, env=env, cwd=DIR)
    try:
        def listed():
            done = subprocess.run([KHO, 'list', '--json'], env=env, cwd=DIR,
                                  capture_output=True, check=True)
            return [s for s in json.loads(done.stdout)['services']
                    if s['state'] == 'serving']
        assert wait_for(listed)[0]['program'] == f'{DIR}/tools/one'
        done = subprocess.run([KHO, 'update', 'odd', './tools/.//one'],
                              env=env, cwd=DIR, capture_output=True, text=True)
        assert f'odd: updated to {DIR}/tools/one (pid' in done.stdout, done
        pid = re.search(r'-> (\d+)\)', done.stdout)[1]
        with open(f'/proc/{pid}/environ', 'rb') as f:
            assert f'NOTIFY_SOCKET={DIR}/run/odd/odd/notify\0'.encode() in \
                f.read()
    finally:
        run.terminate()
        assert '/./' not in run.communicate(timeout=PATIENCE)[1]


def control_c():
    """^C comes from the terminal, from no process"""
    ours, theirs = pty.openpty()

    def own_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    log = open(f'{DIR}/ctrl.log', 'w+')
    run = subprocess.Popen([KHO, 'run', '--name', 'ctrl', '--', V1,
                            f'{DIR}/ctrl.sock'], stderr=log, env=ENV,
                           preexec_fn=own_terminal)
    wait_for(lambda: os.path.exists(f'{RUN}/ctrl/status.json') and
             json.load(open(f'{RUN}/ctrl/status.json'))['state'] == 'serving')
    os.write(ours, b'\x03')
    run.wait(PATIENCE)
    os.close(ours)
    os.close(theirs)
    log.seek(0)
    text = log.read()
    assert f'kho: run: ctrl: SIGINT, ending {V1}\n' in text, text


# Refusals

def refused_once():
    """a refusal gives its reason once, and whole"""
    def reasons(text):
        return len(re.findall('reads? only v3', re.sub(r'\s+', ' ', text)))
    with Service('refuses') as s:
        for args in (['check', s.name, V3], ['update', s.name, V3],
                     ['check', V1, V3]):
            out, err = kho(*args, code=1)
            assert reasons(out + err) == 1, (out, err)
            assert 'support for v1\n' in out, out
            out, err = kho(*args, '--json', code=1)
            assert reasons(err) == 0, err
            document = json.loads(out)
            report = document.get('report', document)
            reason = report['components'][0]['reason']
            assert reason.endswith('support for v1'), reason
            if 'error' in document:
                assert reason in document['error'], document
        assert s.status()['state'] == 'serving'


def fake_service(name, answer):
    """A supervisor and a program that says what we want"""
    os.makedirs(f'{RUN}/{name}', mode=0o700, exist_ok=True)
    os.chmod(RUN, 0o700)
    lock = open(f'{RUN}/{name}/lock', 'w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(f'{RUN}/{name}/status.json', 'w', encoding='utf-8') as f:
        json.dump({'name': name, 'supervisor': os.getpid(), 'pid': os.getpid(),
                   'program': '/bin/x', 'state': 'serving', 'arena': -1,
                   'argv': ['x'], 'starts': 1}, f)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = f'{RUN}/{name}/control'
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen()

    def serve():
        sock, _ = listener.accept()
        sock.recv(1 << 20)
        sock.send(answer if isinstance(answer, bytes) else
                  json.dumps(answer).encode())
        sock.close()
        listener.close()
        lock.close()
    threading.Thread(target=serve, daemon=True).start()
    return lock


def report(**changes):
    finding = {'name': 'app', 'verdict': 'incompatible', 'version': None,
               'has': 1, 'writer': {'min': 1, 'max': 1}, 'reader': None,
               'pin': None, 'optional': False, 'needed_by': 'app',
               'reason': 'no'}
    return {'schema': 'kho-report', 'version': 1, 'outcome': 'incompatible',
            'compatible': False, 'from': 'who', 'to': 'whom',
            'components': [{**finding, **changes}]}


def what_a_program_says():
    """a program's report is shown as it is, whatever it says"""
    evil = os.fsdecode(b'x\x1b[31m\x9b')
    to = manifest('to.json', app=((1, 1), (1, 1)))
    out, err = kho('check', fake_service('f0', {
        'result': 'checked', 'errno': 0, 'report': report()}) and 'f0', to,
        code=1)
    assert out == ('incompatible: f0 -> whom\n  app: no\n\n'
                   '  COMPONENT  VERDICT       VERSION  WRITER  READER  NEEDED BY\n'
                   '  app        incompatible  -        v1      -       app\n'), out
    fake_service('f2', {'report': {
        **report(verdict='ok', version=1, reason=''), 'outcome': 'unknown',
        'conditions': [{'name': 'a=', 'verdict': 'ok', 'reason': 'on'},
                       {'name': 'b', 'verdict': 'unknown', 'reason': 'why'}]}})
    out, err = kho('check', 'f2', to, code=2)
    assert out == ('cannot tell: f2 -> whom\n  b: why\n\n'
                   '  COMPONENT  VERDICT  VERSION  WRITER  READER  NEEDED BY\n'
                   '  app        ok       v1       v1      -       app\n\n'
                   '  CONDITION  VERDICT\n'
                   '  a=         ok       on\n  b          unknown\n'), out
    fake_service('f1', {'report': report(extra=1)})
    out, _ = kho('check', '--json', 'f1', to, code=1)
    assert json.loads(out) == {**report(extra=1), 'from': 'f1'}, out
    for i, changes in enumerate((
            {'name': evil, 'reason': evil, 'needed_by': evil},
            {'name': None, 'reason': 7, 'verdict': []},
            {'version': -1, 'writer': 3, 'reader': {'min': 'x'}},
            {'has': 1 << 70, 'version': 1.5})):
        fake_service(f'g{i}', {'report': report(**changes)})
        for text in kho('check', f'g{i}', to, code=1):
            assert not OBEYED.search(text), text
    for i, odd in enumerate(({'report': []}, {'report': {'components': 1}},
                             {'report': {'components': [1, None, []]}},
                             {'error': evil}, b'{', b'[]', b'\xff\xfe')):
        fake_service(f'h{i}', odd)
        done = subprocess.run([KHO, 'check', f'h{i}', to], env=ENV,
                              capture_output=True, timeout=60)
        assert done.returncode in (1, 2), done
        text = (done.stdout + done.stderr).decode()
        assert not OBEYED.search(text), text


def one():
    """one is not many"""
    with Service('one') as s:
        shown = ''.join(kho('inspect', s.name, code=0) +
                        kho('verify', s.name, code=0))
        a = manifest('one.json', app=((1, 1), (1, 1)))
        b = manifest('other.json', app=((2, 2), (2, 2)))
        c = manifest('newer.json', app=((1, 2), (1, 2)))
        twin = manifest('twin.json', app=((1, 2), (1, 2)))
        shown += ''.join(kho('matrix', a, code=0) + kho('plan', a, b, code=1) +
                         kho('plan', a, b, '--via', c, twin, code=0))
        bad = re.findall(r'.*\b1 (?:folios|pages|keys|targets|classes|pairs|'
                         r'updates|segments|subtrees)\b.*', shown)
        assert not [line for line in bad if 'of ' not in line], bad
        assert '(or another that says the same)' in shown, shown


TESTS = [words, controls, marks, missing_library, in_path, paths, control_c,
         refused_once, what_a_program_says, one]

try:
    tap.main(TESTS, sys.argv[5:])
finally:
    shutil.rmtree(DIR, ignore_errors=True)
