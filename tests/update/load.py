# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Clients that write and read without a pause, and compare each reply with
what they remember. Each has keys of its own."""
import random
import threading
import time

from harness import equal, wait_for
from resp import encode

ANY = object()


class Writer:
    """What one client wrote, and what it may have written: the commands that
    a crash left without a reply may have happened, a first part of them. With
    @lists, some of the keys hold lists."""

    def __init__(self, name, seed, keys=200, lists=False):
        self.random = random.Random(f'{name}{seed}')
        self.keys = [f'{name}:{i}' for i in range(keys)]
        self.lists = [f'{name}:list:{i}' for i in range(keys // 20)] * lists
        self.known = {}
        self.pending = []
        self.acknowledged = 0
        self.longest = 0

    def value(self):
        size = self.random.choice([3, 20, 100, 100, 1000, 2500, 9000])
        return self.random.randbytes(size)

    def command(self):
        """A command, its effect on the keys, and its reply."""
        if self.lists and self.random.randrange(2):
            return self.list_command()
        key = self.random.choice(self.keys)
        kind = self.random.randrange(10)
        if kind < 4:
            value = self.value()
            return ('SET', key, value), {key: value}, b'OK'
        if kind < 6:
            keys = self.random.sample(self.keys, self.random.randrange(2, 8))
            pairs = {k: self.value() for k in keys}
            flat = [x for pair in pairs.items() for x in pair]
            return ('MSET', *flat), pairs, b'OK'
        if kind < 7:
            return ('DEL', key), {key: None}, ANY
        if kind < 9:
            counter = key + ':n'
            return ('INCR', counter), {counter: 1}, ANY
        return ('GET', key), {}, ANY

    def list_command(self):
        key = self.random.choice(self.lists)
        kind = self.random.randrange(12)
        if kind < 6:
            end = 'LR'[kind % 2]
            values = [self.value()
                      for _ in range(self.random.randrange(1, 5))]
            return (f'{end}PUSH', key, *values), {key: (end, values)}, ANY
        if kind < 10:
            end = 'LR'[kind % 2]
            count = self.random.randrange(1, 5)
            return (f'{end}POP', key, count), {key: (end, count)}, ANY
        if kind < 11:
            return ('LRANGE', key, 0, -1), {}, ANY
        return ('DEL', key), {key: None}, ANY

    def apply(self, state, effect):
        for key, value in effect.items():
            if isinstance(value, int):
                value = str(int(state.get(key) or 0) + value).encode()
            elif isinstance(value, tuple):
                value = self.changed(state.get(key) or [], *value)
            state[key] = value

    def changed(self, old, end, what):
        """A list after a push, or a pop; None: it is gone."""
        if isinstance(what, int):
            return (old[what:] if end == 'L' else old[:-what]) or None
        return what[::-1] + old if end == 'L' else old + what

    def expected(self, command, effect, before, after, reply):
        name, old = command[0], before.get(command[1])
        if name in ('LPUSH', 'RPUSH'):
            return len(after[command[1]])
        if name == 'LPOP':
            return old and old[:command[2]]
        if name == 'RPOP':
            return old and old[:-command[2] - 1:-1]
        if name == 'LRANGE':
            return old or []
        if name == 'DEL':
            return int(old is not None)
        if name == 'INCR':
            return int(after[command[1]])
        if name == 'GET':
            return old
        return reply

    def send(self, client, n):
        self.pending = [self.command() for _ in range(n)]
        client.socket.sendall(b''.join(encode(*c) for c, _, _ in self.pending))

    def receive(self, client):
        """Compare the replies to what is pending, as far as they come."""
        while self.pending:
            command, effect, reply = self.pending[0]
            got = client.reply()
            before = {k: self.known.get(k) for k in (*effect, command[1])}
            after = dict(before)
            self.apply(after, effect)
            want = self.expected(command, effect, before, after, reply)
            equal(got, want, ' '.join(map(str, command[:2])))
            self.known.update({k: after[k] for k in effect})
            self.pending.pop(0)
            self.acknowledged += 1

    def round(self, client, n=20):
        start = time.monotonic()
        self.send(client, n)
        self.receive(client)
        self.longest = max(self.longest, time.monotonic() - start)

    def check(self, client):
        """After a crash: everything acknowledged is there, and of what was
        not, a first part; each command as a whole."""
        keys = list(dict.fromkeys([*self.known, *(
            k for _, effect, _ in self.pending for k in effect)]))
        got = dict(zip(keys, client.pipeline(
            [('LRANGE', k, 0, -1) if k in self.lists else ('GET', k)
             for k in keys])))
        got = {k: None if v == [] else v for k, v in got.items()}
        state = {k: self.known.get(k) for k in keys}
        for done in range(len(self.pending) + 1):
            if state == got:
                self.known = state
                self.pending = []
                return
            if done < len(self.pending):
                self.apply(state, self.pending[done][1])
        wrong = [k for k in keys if got[k] != self.known.get(k)]
        raise AssertionError(
            f'{len(wrong)} keys are wrong, such as {wrong[0]}: got '
            f'{got[wrong[0]]!r:.100}, want {self.known.get(wrong[0])!r:.100}; '
            f'{len(self.pending)} commands without a reply')

    def count(self):
        return sum(v is not None for v in self.known.values())


class Load:
    """Writers on connections of their own, in threads, until stopped. With
    @crashes, a connection that breaks is made anew, and all keys compared."""

    def __init__(self, program, seed, n=4, crashes=False, lists=False):
        self.program = program
        self.crashes = crashes
        self.writers = [Writer(f'w{i}', seed, lists=lists) for i in range(n)]
        self.stopping = False
        self.error = None
        self.threads = [threading.Thread(target=self.run, args=(w,))
                        for w in self.writers]
        for thread in self.threads:
            thread.start()

    def run(self, writer):
        client = None
        try:
            client = self.program.client()
            while not self.stopping and not self.error:
                try:
                    writer.round(client)
                except (ConnectionError, BrokenPipeError):
                    if not self.crashes:
                        raise
                    client.close()
                    client = self.again(writer)
            writer.check(client)
        except Exception as why:
            self.error = self.error or why
        finally:
            if client:
                client.close()

    def again(self, writer):
        end = time.monotonic() + 60
        while True:
            try:
                client = self.program.client()
                writer.check(client)
                return client
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)

    def acknowledged(self):
        return sum(w.acknowledged for w in self.writers)

    def longest(self):
        """Seconds that the slowest round took since the last call."""
        longest = max(w.longest for w in self.writers)
        for w in self.writers:
            w.longest = 0
        return longest

    def progress(self, n=200):
        """Wait until @n more commands were answered."""
        goal = self.acknowledged() + n
        wait_for(lambda: self.error or self.acknowledged() > goal, 'progress')
        self.check()

    def check(self):
        if self.error:
            raise self.error

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if not kind:
            self.check()
