# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""A client of the Redis protocol, RESP2 and RESP3. Replies: a status or a string
is bytes, null is None, an error is an Error, an array is a list, a map a dict, a
set a set."""
import socket


class Error(Exception):
    def __eq__(self, other):
        return isinstance(other, Error) and self.args == other.args


def encode(*args):
    args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
    return b'*%d\r\n' % len(args) + b''.join(
        b'$%d\r\n%s\r\n' % (len(a), a) for a in args)


class Client:
    def __init__(self, path, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.file = self.socket.makefile('rb')

    def send(self, *args):
        self.socket.sendall(encode(*args))

    def line(self):
        line = self.file.readline()
        if line[-2:] != b'\r\n':
            raise ConnectionError(f'the server closed the connection: {line}')
        return line[:-2]

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b'+':
            return rest
        if kind == b'-':
            return Error(rest.decode())
        if kind == b':':
            return int(rest)
        if kind in b'$=' and int(rest) >= 0:
            data = self.file.read(int(rest) + 2)
            if len(data) != int(rest) + 2 or data[-2:] != b'\r\n':
                raise ConnectionError('the server closed the connection')
            return data[4 * (kind == b'='):-2]
        if kind == b'_':
            return None
        if kind == b'%':
            return {self.reply(): self.reply() for _ in range(int(rest))}
        if kind == b'~':
            return {self.reply() for _ in range(int(rest))}
        if kind == b'*' and int(rest) >= 0:
            return [self.reply() for _ in range(int(rest))]
        if rest == b'-1':
            return None
        raise ValueError(f'no reply: {line}')

    def __call__(self, *args):
        self.send(*args)
        return self.reply()

    def pipeline(self, commands):
        self.socket.sendall(b''.join(encode(*c) for c in commands))
        return [self.reply() for _ in commands]

    def info(self):
        lines = self('INFO').decode().split('\r\n')
        return dict(x.split(':', 1) for x in lines if ':' in x)

    def close(self):
        self.file.close()
        self.socket.close()
