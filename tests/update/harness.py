# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What the tests of whole programs share: a service in custody."""
import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from resp import Client

sys.path.insert(0, os.path.dirname(__file__) + '/..')
from tap import SEED, Skip, diag, main


def equal(got, want, what=''):
    if got != want:
        raise AssertionError(f'{what}: got {got!r:.300}, want {want!r:.300}')


def wait_for(condition, what, seconds=60, pause=0.005):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'{what}: not within {seconds} s')
        time.sleep(pause)


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def successor_of(pid):
    """The children of a process: who is to follow it, if there is one."""
    try:
        with open(f'/proc/{pid}/task/{pid}/children') as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


class Program:
    """A program with a socket of its own in a directory of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp()
        self.path = self.dir + '/s'
        self.log = open(self.dir + '/log', 'w+b')

    def client(self):
        return Client(self.path)

    def answers(self):
        try:
            client = self.client()
            ok = client('PING') == b'PONG'
            client.close()
            return ok
        except (OSError, ValueError):
            return False

    def wait(self):
        wait_for(self.answers, 'an answer to PING')

    def pid(self):
        client = self.client()
        pid = int(client.info()['process_id'])
        client.close()
        return pid

    def output(self):
        self.log.seek(0)
        return self.log.read().decode(errors='replace')

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind:
            diag('output of the programs:\n' + self.output()[-4000:])
        self.log.close()
        shutil.rmtree(self.dir)


class Alone(Program):
    """A kvstore in nobody's custody."""

    def __init__(self, program, *args, env=None):
        super().__init__()
        self.process = subprocess.Popen(
            [program, '--port', '0', '--unix', self.path, *args],
            stdout=self.log, stderr=self.log, env=env)
        self.wait()

    def stop(self):
        self.process.kill()
        self.process.wait()


class Service(Program):
    """A program that runs under kho run."""

    def __init__(self, kho, program, *args, wait=True):
        super().__init__()
        self.kho = kho
        self.env = dict(os.environ, KHO_RUNTIME_DIR=self.dir + '/run')
        os.mkdir(self.env['KHO_RUNTIME_DIR'], 0o700)
        if wait:
            args = ('--port', '0', '--unix', self.path, *args)
        self.supervisor = subprocess.Popen(
            [kho, 'run', '--name', 'it', '--', program, *args],
            stdout=self.log, stderr=self.log, env=self.env)
        if wait:
            self.wait()

    def serves(self):
        # It may answer before kho run has heard that it does, or has said so.
        with contextlib.suppress(FileNotFoundError):
            return self.answers() and self.status()['state'] == 'serving'
        return False

    def wait(self):
        wait_for(self.serves, 'a service that serves')

    def ask(self, *command):
        """(exit code, answer) of kho"""
        run = subprocess.run([self.kho, *command], env=self.env,
                             capture_output=True, text=True)
        diag(run.stderr)
        return run.returncode, json.loads(run.stdout or '{}')

    def update(self, program, *args, timeout=None, profile=None):
        command = ['update', '--json']
        if timeout:
            command += ['--timeout', str(timeout)]
        if profile:
            command += ['--profile', profile]
        command += ['it', program]
        if args:
            command += ['--', *args]
        return self.ask(*command)

    def check(self, program):
        return self.ask('check', '--json', 'it', program)

    def status(self):
        with open(self.env['KHO_RUNTIME_DIR'] + '/it/status.json') as f:
            return json.load(f)

    def stop(self):
        self.supervisor.terminate()
        try:
            self.supervisor.wait(20)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            self.supervisor.wait()
            raise


class Custody(Program):
    """A program whose arena and sockets we keep ourselves, as a service
    manager would: it can be killed and started again without any pause."""

    def __init__(self, program, *args):
        super().__init__()
        self.args = [program, '--port', '0', '--unix', self.path, *args]
        self.store = []
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.dir + '/notify')
        threading.Thread(target=self.listen, daemon=True).start()
        self.start()
        self.wait()
        wait_for(lambda: len(self.store) == 3, 'arena and sockets in custody')

    def listen(self):
        while True:
            fds = array.array('i')
            try:
                data, anc, _, _ = self.notify.recvmsg(
                    4096, socket.CMSG_SPACE(64 * fds.itemsize))
            except OSError:
                return
            for _, _, raw in anc:
                fds.frombytes(raw[:len(raw) // 4 * 4])
            lines = data.decode().splitlines()
            if 'FDSTORE=1' in lines:
                name = [x for x in lines if x.startswith('FDNAME=')][0][7:]
                self.store += [(name, fd) for fd in fds]
            elif lines == ['CLOSE=1']:
                return

    def start(self):
        store = list(self.store)
        env = dict(os.environ, NOTIFY_SOCKET=self.dir + '/notify')
        self.pid_ = os.fork()
        if self.pid_:
            return
        try:
            os.dup2(self.log.fileno(), 1)
            os.dup2(self.log.fileno(), 2)
            # First out of the way of the numbers from 3 on.
            high = [os.dup2(fd, 500 + i) for i, (_, fd) in enumerate(store)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
            os.closerange(3 + len(store), 1024)
            if store:
                env['LISTEN_PID'] = str(os.getpid())
                env['LISTEN_FDS'] = str(len(store))
                env['LISTEN_FDNAMES'] = ':'.join(name for name, _ in store)
            os.execve(self.args[0], self.args, env)
        finally:
            os._exit(127)

    def kill(self):
        os.kill(self.pid_, signal.SIGKILL)
        os.waitpid(self.pid_, 0)

    def stop(self):
        self.kill()
        with contextlib.suppress(OSError):
            self.notify.connect(self.dir + '/notify')
            self.notify.send(b'CLOSE=1')
        for _, fd in self.store:
            os.close(fd)
        self.notify.close()
