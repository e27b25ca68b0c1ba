#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""What kvstore says to its clients:
test-kvstore-protocol.py LATE-CLOCK KVSTORE-V1 V2 V3"""
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile

import harness
from harness import Alone, Program, Skip, diag, equal, wait_for
from resp import Error, encode

CLOCK = sys.argv[1]
VERSIONS = sys.argv[2:]
V1, V2, V3 = VERSIONS

ARITY = "-ERR wrong number of arguments for '%s' command\r\n"
SYNTAX = '-ERR syntax error\r\n'
INTEGER = '-ERR value is not an integer or out of range\r\n'
EXPIRE = "-ERR invalid expire time in '%s' command\r\n"
WRONGTYPE = ('-WRONGTYPE Operation against a key holding the wrong kind of '
             'value\r\n')
POSITIVE = '-ERR value is out of range, must be positive\r\n'
NULL = '$-1\r\n'
NULL_ARRAY = '*-1\r\n'
OK = '+OK\r\n'


def bulks(*texts):
    return f'*{len(texts)}\r\n' + ''.join(
        f'${len(x)}\r\n{x}\r\n' for x in texts)


# Commands, in this order, on one connection, and the exact reply to each.
TABLE = [
    ('PING', '+PONG\r\n'),
    ('ping hello', '$5\r\nhello\r\n'),
    ('PING a b', ARITY % 'ping'),
    ('ECHO hi', '$2\r\nhi\r\n'),
    ('ECHO', ARITY % 'echo'),
    ('SELECT 0', OK),
    ('SELECT 1', '-ERR DB index is out of range\r\n'),
    ('SELECT x', INTEGER),
    ('DBSIZE', ':0\r\n'),
    ('GET a', NULL),
    ('SET a 1', OK),
    ('GET a', '$1\r\n1\r\n'),
    ('GET', ARITY % 'get'),
    ('SET a', ARITY % 'set'),
    ('SET a 2 NX', NULL),
    ('SET a 2 XX', OK),
    ('SET b 2 XX', NULL),
    ('SET b 2 NX', OK),
    ('SET b 3 GET', '$1\r\n2\r\n'),
    ('SET c 3 GET', NULL),
    ('SET c 4 NX GET', '$1\r\n3\r\n'),
    ('SET d 4 NX GET', NULL),
    ('SET a 1 NX XX', SYNTAX),
    ('SET a 1 EX', SYNTAX),
    ('SET a 1 EX 10 PX 10', SYNTAX),
    ('SET a 1 KEEPTTL EX 10', SYNTAX),
    ('SET a 1 WHAT', SYNTAX),
    ('SET a 1 EX x', INTEGER),
    ('SET a 1 EX 0', EXPIRE % 'set'),
    ('SET a 1 PX -1', EXPIRE % 'set'),
    ('SET a 1 EX 9223372036854775807', EXPIRE % 'set'),
    ('GET a', '$1\r\n2\r\n'),
    ('MGET a b nix c', '*4\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n$1\r\n3\r\n'),
    ('MSET x 1 y 2 x 3', OK),
    ('MGET x y', '*2\r\n$1\r\n3\r\n$1\r\n2\r\n'),
    ('MSET x 1 y', ARITY % 'mset'),
    ('EXISTS x y nix x', ':3\r\n'),
    ('DEL x nix y x', ':2\r\n'),
    ('EXISTS x', ':0\r\n'),
    ('UNLINK d', ':1\r\n'),
    ('TYPE a', '+string\r\n'),
    ('TYPE nix', '+none\r\n'),
    ('STRLEN a', ':1\r\n'),
    ('STRLEN nix', ':0\r\n'),
    ('INCR n', ':1\r\n'),
    ('INCR n', ':2\r\n'),
    ('INCRBY n 40', ':42\r\n'),
    ('DECR n', ':41\r\n'),
    ('DECRBY n 51', ':-10\r\n'),
    ('GET n', '$3\r\n-10\r\n'),
    ('INCRBY n x', INTEGER),
    ('INCRBY n 1.5', INTEGER),
    ('INCRBY n +1', INTEGER),
    ('INCRBY n 01', INTEGER),
    ('INCRBY n 9223372036854775808', INTEGER),
    ('SET n 9223372036854775807', OK),
    ('INCR n', '-ERR increment or decrement would overflow\r\n'),
    ('GET n', '$19\r\n9223372036854775807\r\n'),
    ('SET n -9223372036854775808', OK),
    ('DECR n', '-ERR increment or decrement would overflow\r\n'),
    ('INCR n', ':-9223372036854775807\r\n'),
    ('DECRBY n -9223372036854775808', '-ERR decrement would overflow\r\n'),
    ('SET n abc', OK),
    ('INCR n', INTEGER),
    ('DEL n', ':1\r\n'),
    ('TTL a', ':-1\r\n'),
    ('TTL nix', ':-2\r\n'),
    ('PTTL nix', ':-2\r\n'),
    ('EXPIRE a 100', ':1\r\n'),
    ('TTL a', ':100\r\n'),
    ('INCR a', ':3\r\n'),
    ('TTL a', ':100\r\n'),
    ('SET a 4 KEEPTTL', OK),
    ('TTL a', ':100\r\n'),
    ('PERSIST a', ':1\r\n'),
    ('PERSIST a', ':0\r\n'),
    ('TTL a', ':-1\r\n'),
    ('PEXPIRE a 100000', ':1\r\n'),
    ('TTL a', ':100\r\n'),
    ('SET a 4', OK),
    ('TTL a', ':-1\r\n'),
    ('EXPIRE nix 100', ':0\r\n'),
    ('EXPIRE a x', INTEGER),
    ('EXPIRE a 9223372036854775807', EXPIRE % 'expire'),
    ('EXPIREAT a 99999999999', ':1\r\n'),
    ('PEXPIREAT a 99999999999999', ':1\r\n'),
    ('SET z 1 EXAT 1', OK),
    ('GET z', NULL),
    ('SET z 1 PXAT 99999999999999', OK),
    ('EXPIRE z -1', ':1\r\n'),
    ('EXISTS z', ':0\r\n'),
    ('DBSIZE', ':3\r\n'),
    ('KEYS [bx]', '*1\r\n$1\r\nb\r\n'),
    ('SCAN x', '-ERR invalid cursor\r\n'),
    ('SCAN 0 MATCH', SYNTAX),
    ('SCAN 0 COUNT 0', SYNTAX),
    ('SCAN 0 COUNT x', INTEGER),
    ('SCAN 0 MATCH nix COUNT 1000', '*2\r\n$1\r\n0\r\n*0\r\n'),
    ('SCAN 0 TYPE list COUNT 1000', '*2\r\n$1\r\n0\r\n*0\r\n'),
    ('SCAN 0 MATCH ? COUNT 1000 MATCH b',
     '*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n'),
    ('CONFIG GET save', '*2\r\n$4\r\nsave\r\n$0\r\n\r\n'),
    ('CONFIG GET append* data*', '*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n'
     '$9\r\ndatabases\r\n$1\r\n1\r\n'),
    ('CONFIG GET nix', '*0\r\n'),
    ('CONFIG SET save x', "-ERR unknown subcommand or wrong number of "
     "arguments for 'config' command\r\n"),
    ('HELLO 1', '-NOPROTO unsupported protocol version\r\n'),
    ('HELLO 4', '-NOPROTO unsupported protocol version\r\n'),
    ('HELLO x', '-ERR Protocol version is not an integer or out of range\r\n'),
    ('HELLO 2 WHAT', "-ERR Syntax error in HELLO option 'WHAT'\r\n"),
    ('CLIENT GETNAME', NULL),
    ('CLIENT SETNAME me', OK),
    ('CLIENT GETNAME', '$2\r\nme\r\n'),
    ('CLIENT SETINFO LIB-NAME x', OK),
    ('CLIENT WHAT', "-ERR unknown subcommand or wrong number of arguments for "
     "'client' command\r\n"),
    ('WHAT a b', "-ERR unknown command 'WHAT', with args beginning with: "
     "'a' 'b' \r\n"),
    ('GETX a', "-ERR unknown command 'GETX', with args beginning with: 'a' "
     "\r\n"),
    ('FLUSHALL NOW', SYNTAX),
    ('FLUSHALL', OK),
    ('DBSIZE', ':0\r\n'),
    ('SET a 1', OK),
    ('FLUSHDB ASYNC', OK),
    ('GET a', NULL),
    ('QUIT', OK),
]

# The same for lists, since version 2.
LISTS = [
    ('RPUSH', ARITY % 'rpush'),
    ('RPUSH l', ARITY % 'rpush'),
    ('LPUSH l', ARITY % 'lpush'),
    ('LLEN l', ':0\r\n'),
    ('LRANGE l 0 -1', '*0\r\n'),
    ('LINDEX l 0', NULL),
    ('LINDEX l x', NULL),
    ('LPOP l', NULL),
    ('RPOP l', NULL),
    ('LPOP l 2', NULL_ARRAY),
    ('RPOP l 0', NULL_ARRAY),
    ('RPUSH l c', ':1\r\n'),
    ('RPUSH l d e', ':3\r\n'),
    ('LPUSH l b a', ':5\r\n'),
    ('LLEN l', ':5\r\n'),
    ('TYPE l', '+list\r\n'),
    ('EXISTS l l', ':2\r\n'),
    ('DBSIZE', ':1\r\n'),
    ('LRANGE l 0 -1', bulks(*'abcde')),
    ('LRANGE l 1 2', bulks(*'bc')),
    ('LRANGE l -2 -1', bulks(*'de')),
    ('LRANGE l -99 99', bulks(*'abcde')),
    ('LRANGE l 3 1', '*0\r\n'),
    ('LRANGE l 5 9', '*0\r\n'),
    ('LRANGE l -9 -6', '*0\r\n'),
    ('LRANGE l -9223372036854775808 9223372036854775807', bulks(*'abcde')),
    ('LRANGE l x 1', INTEGER),
    ('LRANGE l 0 9223372036854775808', INTEGER),
    ('LRANGE nix x 1', INTEGER),
    ('LRANGE l 0', ARITY % 'lrange'),
    ('LINDEX l 0', '$1\r\na\r\n'),
    ('LINDEX l 3', '$1\r\nd\r\n'),
    ('LINDEX l -1', '$1\r\ne\r\n'),
    ('LINDEX l -5', '$1\r\na\r\n'),
    ('LINDEX l 5', NULL),
    ('LINDEX l -6', NULL),
    ('LINDEX l -9223372036854775808', NULL),
    ('LINDEX l x', INTEGER),
    ('LPOP l', '$1\r\na\r\n'),
    ('RPOP l', '$1\r\ne\r\n'),
    ('LPOP l 0', '*0\r\n'),
    ('LPOP l -1', POSITIVE),
    ('RPOP l x', POSITIVE),
    ('LPOP nix -1', POSITIVE),
    ('LPOP l 1 2', ARITY % 'lpop'),
    ('RPOP l 1 2', ARITY % 'rpop'),
    ('RPUSH l f g', ':5\r\n'),
    ('RPOP l 2', bulks(*'gf')),
    ('LPOP l 2', bulks(*'bc')),
    ('LPOP l 99', bulks('d')),
    ('EXISTS l', ':0\r\n'),
    ('TYPE l', '+none\r\n'),
    ('DBSIZE', ':0\r\n'),
    # Commands for strings on lists, and for lists on strings.
    ('RPUSH l a b', ':2\r\n'),
    ('SET s 1', OK),
    ('GET l', WRONGTYPE),
    ('MGET s l nix', '*3\r\n$1\r\n1\r\n$-1\r\n$-1\r\n'),
    ('STRLEN l', WRONGTYPE),
    ('INCR l', WRONGTYPE),
    ('DECRBY l 5', WRONGTYPE),
    ('SET l 1 GET', WRONGTYPE),
    ('SET l 1 NX GET', WRONGTYPE),
    ('SET l 1 NX', NULL),
    ('LRANGE l 0 -1', bulks(*'ab')),
    ('RPUSH s a', WRONGTYPE),
    ('LPUSH s a', WRONGTYPE),
    ('LPOP s', WRONGTYPE),
    ('RPOP s 0', WRONGTYPE),
    ('LLEN s', WRONGTYPE),
    ('LRANGE s 0 -1', WRONGTYPE),
    ('LINDEX s 0', WRONGTYPE),
    ('LINDEX s x', WRONGTYPE),
    ('GET s', '$1\r\n1\r\n'),
    # Commands for keys.
    ('KEYS l', bulks('l')),
    ('SCAN 0 TYPE list COUNT 1000', '*2\r\n$1\r\n0\r\n' + bulks('l')),
    ('SCAN 0 TYPE LIST MATCH s COUNT 1000', '*2\r\n$1\r\n0\r\n*0\r\n'),
    ('SCAN 0 COUNT 1000 TYPE string', '*2\r\n$1\r\n0\r\n' + bulks('s')),
    ('EXPIRE l 100', ':1\r\n'),
    ('RPUSH l c', ':3\r\n'),
    ('LPOP l', '$1\r\na\r\n'),
    ('TTL l', ':100\r\n'),
    ('PERSIST l', ':1\r\n'),
    ('TTL l', ':-1\r\n'),
    ('EXPIRE l -1', ':1\r\n'),
    ('LLEN l', ':0\r\n'),
    ('RPUSH l z', ':1\r\n'),
    ('PEXPIRE l 100000', ':1\r\n'),
    ('SET l 7 KEEPTTL', OK),
    ('TTL l', ':100\r\n'),
    ('GET l', '$1\r\n7\r\n'),
    ('DEL l s', ':2\r\n'),
    ('RPUSH l a', ':1\r\n'),
    ('SET l 5 XX', OK),
    ('TYPE l', '+string\r\n'),
    ('DEL l', ':1\r\n'),
    ('RPUSH l a', ':1\r\n'),
    ('MSET x 1 l 2 x 3', OK),
    ('MGET x l', bulks(*'32')),
    ('DEL x l', ':2\r\n'),
    ('RPUSH l a b c', ':3\r\n'),
    ('UNLINK l', ':1\r\n'),
    ('RPUSH k a', ':1\r\n'),
    ('FLUSHALL', OK),
    ('DBSIZE', ':0\r\n'),
    ('RPOP k', NULL),
]

# What a client of RESP3 sends, and exactly what it gets.
HELLO = ('%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n'
         '$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:ID\r\n$4\r\nmode\r\n$10\r\n'
         'standalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n')
HELLO_2 = HELLO.replace('%7', '*14').replace('proto\r\n:3', 'proto\r\n:2')
RESP3 = [
    ('GET a', NULL),
    ('HELLO', HELLO_2),
    ('HELLO 3 AUTH nobody x',
     '-WRONGPASS invalid username-password pair or user is disabled.\r\n'),
    ('HELLO 3 AUTH default', "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
    ('HELLO 3 SETNAME', "-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
    # What was refused has changed nothing.
    ('GET a', NULL),
    ('HELLO 3 AUTH default x SETNAME me', HELLO),
    ('CLIENT GETNAME', '$2\r\nme\r\n'),
    ('HELLO', HELLO),
    ('CLIENT SETINFO LIB-NAME test', OK),
    ('CLIENT SETINFO LIB-VER 1', OK),
    ('CLIENT SETINFO WHAT 1', "-ERR Unrecognized option 'WHAT'\r\n"),
    ('GET a', '_\r\n'),
    ('MGET a b', '*2\r\n_\r\n_\r\n'),
    ('SET a 1 XX', '_\r\n'),
    ('SET a 1 GET', '_\r\n'),
    ('GET a', '$1\r\n1\r\n'),
    ('INCR a', ':2\r\n'),
    ('LPOP l', '_\r\n'),
    ('LPOP l 2', '_\r\n'),
    ('LINDEX l 0', '_\r\n'),
    ('LRANGE l 0 -1', '*0\r\n'),
    ('OBJECT IDLETIME nix', '_\r\n'),
    ('KEYS *', '*1\r\n$1\r\na\r\n'),
    ('SCAN 0', '*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n'),
    ('CONFIG GET save', '%1\r\n$4\r\nsave\r\n$0\r\n\r\n'),
    ('CONFIG GET nix', '%0\r\n'),
    ('INFO keyspace', '=28\r\ntxt:# Keyspace\r\ndb0:keys=1\r\n\r\n'),
    ('CLIENT SETNAME x y', "-ERR unknown subcommand or wrong number of "
     "arguments for 'client' command\r\n"),
    ('HELLO 4', '-NOPROTO unsupported protocol version\r\n'),
    ('GET nix', '_\r\n'),
    ('HELLO 2', HELLO_2),
    ('GET nix', NULL),
    ('LPOP l 2', NULL_ARRAY),
    ('INFO keyspace', '$24\r\n# Keyspace\r\ndb0:keys=1\r\n\r\n'),
]

# Bytes that are not RESP, and what comes before the connection is closed.
MALFORMED = [
    (b'*1\r\n:1\r\n', "expected '$', got ':'"),
    (b'*1\r\n\n\r\n', "expected '$', got ' '"),
    (b'*x\r\n', 'invalid multibulk length'),
    (b'*1048577\r\n', 'invalid multibulk length'),
    (b'*99999999999999999999\r\n', 'invalid multibulk length'),
    (b'*1\r\n$-1\r\n', 'invalid bulk length'),
    (b'*1\r\n$x\r\n', 'invalid bulk length'),
    (b'*1\r\n$\r\n', 'invalid bulk length'),
    (b'*1\r\n$536870913\r\n', 'invalid bulk length'),
    (b'*1\r\n$1 \r\n', 'invalid bulk length'),
    (b'*1' + 70000 * b'1', 'too big mbulk count string'),
    (b'*1\r\n$' + 70000 * b'1', 'too big bulk count string'),
    (70000 * b'x', 'too big inline request'),
    (b'SET "a\r\n', 'unbalanced quotes in request'),
    (b"SET 'a'b\r\n", 'unbalanced quotes in request'),
]

# Inline commands, and what arrives as the argument of ECHO.
INLINE = [
    (b'ECHO hi\r\n', b'hi'),
    (b'ECHO hi\n', b'hi'),
    (b'  echo   hi  \r\n', b'hi'),
    (b'ECHO "a b"\r\n', b'a b'),
    (b"ECHO 'a b'\r\n", b'a b'),
    (b'ECHO ""\r\n', b''),
    (b'ECHO "\\x41\\n\\t\\"\\\\"\r\n', b'A\n\t"\\'),
    (b"ECHO '\\'\\n'\r\n", b"'\\n"),
    (b'\r\n\r\nECHO hi\r\n', b'hi'),
    (b'*0\r\n*-1\r\nECHO hi\r\n', b'hi'),
]


def read_until_closed(sock):
    parts = []
    while True:
        try:
            parts.append(sock.recv(1 << 20))
        except ConnectionResetError:
            return b''.join(parts)
        if not parts[-1]:
            return b''.join(parts)


def connect(server):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(server.path)
    return sock


def expected(table):
    return ''.join(reply for _, reply in table).encode()


def one_by_one():
    """each command gets exactly its reply"""
    for version in VERSIONS:
        with Alone(version) as server, connect(server) as sock:
            for command, reply in (LISTS if version != V1 else []) + TABLE:
                sock.sendall(encode(*command.split()))
                want = reply.encode()
                got = b''
                while len(got) < len(want):
                    part = sock.recv(len(want) - len(got))
                    if not part:
                        break
                    got += part
                equal(got, want, f'{version}: {command}')
            equal(sock.recv(1), b'', 'after QUIT')


def resp3():
    """a client that says HELLO 3 is answered in RESP3, and no other one"""
    with Alone(V2) as server, connect(server) as sock:
        other = server.client()
        number = str(other('CLIENT', 'ID') - 1)
        for command, reply in RESP3:
            sock.sendall(encode(*command.split()))
            want = reply.replace('ID', number, 1).encode() \
                if command.startswith('HELLO') else reply.encode()
            got = b''
            while len(got) < len(want):
                part = sock.recv(len(want) - len(got))
                assert part, (command, got)
                got += part
            equal(got, want, command)
            equal(other('GET', 'nix'), None)
        equal(other('HELLO', 3)[b'proto'], 3)
        equal({type(c[2]) for c in other('COMMAND')}, {set})
        assert int(other.info()['process_id']) == server.process.pid


def http():
    """POST and Host: close the connection, and what follows is not executed"""
    body = b'\r\nSET evil 1\r\n'
    requests = [
        b'POST / HTTP/1.1\r\nHost: localhost\r\n' + body,
        b'GET / HTTP/1.1\r\nUser-Agent: x\r\nHost: localhost\r\n' + body,
        b'post\r\n' + body, b'SET good 1\r\nHOST:\r\n' + body,
        encode('Post', 'x') + body,
    ]
    with Alone(V2) as server:
        others = [server]
        with contextlib.suppress(Skip):
            others.append(Redis())
        for other in others:
            for data in requests:
                with connect(other) as sock:
                    sock.sendall(data)
                    equal(read_until_closed(sock), b'', data)
            equal(other.client()('MGET', 'evil', 'good'), [None, b'1'])
            assert 'attack' in other.output().lower(), other.output()
        equal(server.output().count('attack'), 1, 'lines in the log')
        for other in others[1:]:
            other.__exit__(None)


def no_memory():
    """a reply that there is no memory for: the connection, not another reply"""
    with open(V2, 'rb') as f:
        if b'__asan_init' in f.read():
            raise Skip('its memory cannot be limited under a sanitizer')
    with Alone(V2) as server:
        client = server.client()
        client('SET', 'big', 30000000 * b'x')
        client('MSET', *(x for i in range(3000) for x in (1000 * f'{i},', 1)))
        for command in ('GET', 'big'), ('MGET', 'a', 'big'), ('KEYS', '*'):
            client = server.client()
            client('GET', 'a')
            with open(f'/proc/{server.process.pid}/statm') as f:
                size = int(f.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
            limit = ['prlimit', '--pid', str(server.process.pid)]
            subprocess.run([*limit, f'--as={size + 4000000}:'], check=True)
            client.socket.sendall(b''.join(
                encode(*c) for c in [('ECHO', 'before'), command,
                                     ('ECHO', 'after')]))
            got = read_until_closed(client.socket)
            assert b'after' not in got, got[-100:]
            subprocess.run([*limit, '--as=unlimited:'], check=True)
            equal(server.client()('PING'), b'PONG', 'another client')


def clock_set_back():
    """keys expire by themselves after the clock was set back, too"""
    late = tempfile.NamedTemporaryFile()
    env = dict(os.environ, LD_PRELOAD=CLOCK, CLOCK_LATE=late.name)
    env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + \
        ':verify_asan_link_order=0'
    with late, Alone(V2, env=env) as server:
        client = server.client()
        before = client('TTL', 'nix'), client('SET', 'x', 1, 'EX', 10000)
        equal(before, (-2, b'OK'))
        os.truncate(late.name, 3600)
        wait_for(lambda: client('TTL', 'x') > 13000, 'the clock')
        for i in range(100):
            client('SET', f'many:{i}', 'x', 'PX', '100')
        wait_for(lambda: client('DBSIZE') == 1, 'expiry', seconds=20)
        uptime = int(client.info()['uptime_in_seconds'])
        assert uptime < 60, uptime


def in_pieces():
    """all commands at once, byte by byte, and in random pieces"""
    table = LISTS + TABLE
    stream = b''.join(encode(*c.split()) for c, _ in table)
    for size in [len(stream), 1, None]:
        with Alone(V2) as server, connect(server) as sock:
            at = 0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            while at < len(stream):
                piece = size or random.randrange(1, 50)
                sock.sendall(stream[at:at + piece])
                at += piece
            equal(read_until_closed(sock), expected(table),
                  f'pieces of {size}')


def malformed():
    """malformed bytes: a protocol error, and the connection is closed"""
    with Alone(V2) as server:
        for data, error in MALFORMED:
            # A complete command before it is still answered.
            for prefix, reply in [(b'', b''), (b'PING\r\n', b'+PONG\r\n')]:
                with connect(server) as sock:
                    sock.sendall(prefix + data)
                    want = reply + f'-ERR Protocol error: {error}\r\n'.encode()
                    got = read_until_closed(sock)
                    # What we sent in excess may have reset the connection.
                    if got or len(data) < 1000:
                        equal(got, want, data[:40])
        equal(server.process.poll(), None, 'the server')


def random_bytes():
    """random bytes and random damage to commands never harm the server"""
    stream = b''.join(encode(*c.split()) for c, _ in LISTS + TABLE[:-1])
    with Alone(V2) as server:
        for turn in range(300):
            data = bytearray(stream[random.randrange(len(stream)):][:2000])
            if turn % 3 == 0:
                data = bytearray(random.randbytes(500))
            for _ in range(random.randrange(10)):
                data[random.randrange(len(data))] = random.randrange(256)
            with connect(server) as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                read_until_closed(sock)
        equal(server.client()('PING'), b'PONG', 'afterwards')


def inline():
    """inline commands, with quotes and escapes"""
    with Alone(V2) as server:
        for data, argument in INLINE:
            client = server.client()
            client.socket.sendall(data)
            equal(client.reply(), argument, data)
            client.close()


def half_closed():
    """a client that has finished sending still gets its replies"""
    with Alone(V2) as server, connect(server) as sock:
        client = server.client()
        client('SET', 'big', 3000000 * b'x')
        sock.sendall(20 * encode('GET', 'big'))
        sock.shutdown(socket.SHUT_WR)
        equal(len(read_until_closed(sock)), 20 * (3000000 + 12), 'replies')


def binary():
    """keys and values may hold any byte, and have any size"""
    with Alone(V2) as server:
        client = server.client()
        sizes = [0, 1, 2000, 2016, 2048, 2049, 4096, 5000, 65536, 3000001]
        values = {}
        for size in sizes:
            values[random.randbytes(size)] = random.randbytes(size)
        values[bytes(range(256))] = bytes(range(255, -1, -1))
        for key, value in values.items():
            equal(client('SET', key, value), b'OK')
        for key, value in values.items():
            equal(client('GET', key), value)
        equal(client('DBSIZE'), len(values))
        equal(client('DEL', *values), len(values))


def unread_replies():
    """a client that does not read its replies does not fill the memory"""
    with Alone(V2) as server, connect(server) as sock:
        server.client()('SET', 'big', 1000000 * b'x')
        sock.settimeout(2)
        try:
            for _ in range(2000):
                sock.sendall(1000 * encode('GET', 'big'))
        except TimeoutError:
            pass
        with open(f'/proc/{server.process.pid}/statm') as f:
            pages = int(f.read().split()[1])
        if 'san' not in os.environ.get('MESON_TEST_WRAPPER', ''):
            assert pages * os.sysconf('SC_PAGE_SIZE') < 400 << 20, pages
        equal(server.client()('PING'), b'PONG', 'another client')


def expiring():
    """keys expire when they should, and their memory comes back"""
    with Alone(V2) as server:
        client = server.client()
        equal(client('SET', 'a', '1', 'PX', '200'), b'OK')
        equal(client('SET', 'b', '1', 'EX', '100'), b'OK')
        left = client('PTTL', 'a')
        assert 0 < left <= 200, left
        for i in range(100):
            client('SET', f'many:{i}', 'x', 'PX', '100')
        wait_for(lambda: client('GET', 'a') is None, 'expiry of a')
        # Nobody asks for these: they go by themselves.
        wait_for(lambda: client('DBSIZE') == 1, 'expiry of the others')
        equal(client('GET', 'b'), b'1')


def full():
    """a full arena refuses writes, loses nothing, and can be emptied"""
    with Alone(V2, '--max-memory', '8m') as server:
        client = server.client()
        stored = {}
        for size in 100, 3000:
            for i in range(100000):
                key = f'{size}:{i}'
                reply = client('SET', key, key.ljust(size))
                if isinstance(reply, Error):
                    equal(str(reply), "OOM command not allowed when used "
                          "memory > 'maxmemory'.")
                    break
                stored[key] = key.ljust(size).encode()
            else:
                raise AssertionError('it never was full')
        many = [x for i in range(2000) for x in (f'm{i}', 300 * 'x')]
        assert isinstance(client('MSET', *many), Error)
        equal(client('EXISTS', *many[::2]), 0, 'an MSET that was refused')
        assert len(stored) > 10000, len(stored)
        equal(client('DBSIZE'), len(stored))
        for key, value in stored.items():
            equal(client('GET', key), value, key)
        keys = list(stored)
        equal(client('DEL', *keys[::2]), len(keys[::2]))
        equal(client('SET', 'again', 100 * 'x'), b'OK')
        for key in keys[1::2]:
            equal(client('GET', key), stored[key], key)
        equal(client('FLUSHALL'), b'OK')
        equal(client('DBSIZE'), 0)
        equal(client('MSET', *many), b'OK')


def scanning():
    """SCAN: every key that stays comes once, while the table grows"""
    with Alone(V2) as server:
        client = server.client()
        staying = {f'stay:{i}'.encode() for i in range(3000)}
        client.pipeline([('SET', key, '') for key in staying])
        client.pipeline([('SET', f'go:{i}', '') for i in range(3000)])
        before = int(client.info()['buckets'])
        found, cursor, turn = [], b'0', 0
        while True:
            cursor, keys = client('SCAN', cursor, 'COUNT', '20')
            found += keys
            client.pipeline(
                [('SET', f'new:{turn}:{i}', '') for i in range(100)] +
                [('DEL', f'go:{20 * turn + i}') for i in range(20)])
            turn += 1
            if cursor == b'0':
                break
        assert int(client.info()['buckets']) > 4 * before
        equal(sorted(x for x in found if x in staying), sorted(staying))
        equal(len(found), len(set(found)), 'keys that came twice')


def patterns():
    """patterns of KEYS"""
    table = [
        ('*', 'abc', True), ('a*', 'abc', True), ('*c', 'abc', True),
        ('a?c', 'abc', True), ('a?', 'abc', False), ('', 'abc', False),
        ('a[bc]c', 'abc', True), ('a[^b]c', 'abc', False),
        ('a[^x]c', 'abc', True), ('a[a-c]c', 'abc', True),
        ('a[x-z]c', 'abc', False), ('a\\*c', 'abc', False),
        ('a\\*c', 'a*c', True), ('a[\\]]c', 'a]c', True),
        ('*a*a*a*b', 'a' * 200, False), ('a[b', 'ab', True),
        ('***', '', True), ('abc*', 'abc', True), ('a\\', 'a\\', True),
    ]
    with Alone(V2) as server:
        client = server.client()
        for pattern, key, match in table:
            client('FLUSHALL')
            client('SET', key, '')
            equal(client('KEYS', pattern), [key.encode()] * match,
                  f'{pattern} on {key}')


def info():
    """INFO says what is going on"""
    for n, version in enumerate(VERSIONS, 1):
        with Alone(version) as server:
            client = server.client()
            client('SET', 'a', '1')
            client('GET', 'a')
            client('GET', 'b')
            info = client.info()
            equal(int(info['kvstore_version']), n)
            equal(int(info['process_id']), server.process.pid)
            equal(info['db0'], 'keys=1')
            equal(info['connected_clients'], '1')
            equal(info.get('keyspace_hits'), None if n == 1 else '1')
            equal(info.get('keyspace_misses'), None if n == 1 else '1')
            assert b'# Memory' in client('INFO', 'memory')
            assert b'# Server' not in client('INFO', 'memory')
            commands = client('COMMAND')
            equal(len(commands), client('COMMAND', 'COUNT'))
            for name in b'object', b'rpush', b'lrange':
                equal(name in [c[0] for c in commands], n >= 2)
            equal(info['table_version'], str(n))


class Redis(Program):
    """The real one: without its package, too, redis-tools has the program,
    under another name, and it looks at how it is called."""

    def __init__(self):
        program = shutil.which('redis-server') or \
            shutil.which('redis-check-rdb')
        if not program:
            raise Skip('no redis-tools')
        version = subprocess.check_output(['redis-server', '--version'],
                                          executable=program)
        if b' v=7.' not in version:
            raise Skip(f'not version 7: {version}')
        super().__init__()
        self.process = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket', self.path,
             '--databases', '1', '--save', '', '--dir', self.dir],
            executable=program, stdout=self.log, stderr=self.log)
        self.wait()

    def stop(self):
        self.process.kill()
        self.process.wait()


def as_redis():
    """a real redis-server gives the same replies"""
    # What these say depends on the server.
    other = ('CLIENT', 'CONFIG', 'HELLO')
    with Redis() as server, connect(server) as sock:
        for command, reply in LISTS + TABLE:
            if command.startswith(other):
                continue
            sock.sendall(encode(*command.split()))
            got = b''
            while len(got) < len(reply):
                got += sock.recv(len(reply) - len(got))
            equal(got, reply.encode(), command)


def random_command():
    key = random.choice('abcdefgh')
    n = random.choice([0, 1, 2, 3, 5, 30, 1000, -1, -2, -5])
    values = [str(random.randrange(30)) * random.choice([1, 1, 20, 1200])
              for _ in range(random.choice([1, 1, 2, 5, 40]))]
    return random.choice([
        ('RPUSH', key, *values), ('LPUSH', key, *values),
        ('RPUSH', key, *values), ('LPUSH', key, *values),
        ('LPOP', key), ('RPOP', key), ('LPOP', key, n), ('RPOP', key, n),
        ('LRANGE', key, n, random.randrange(-20, 50)), ('LLEN', key),
        ('LINDEX', key, n), ('LRANGE', key, 0, -1), ('TYPE', key),
        ('SET', key, n), ('SET', key, n, 'NX'), ('SET', key, n, 'XX', 'GET'),
        ('GET', key), ('INCR', key), ('STRLEN', key), ('DEL', key),
        ('MGET', *'abcdefgh'), ('MSET', key, n, 'a', n), ('EXISTS', *'abcdef'),
        ('EXPIRE', key, 1000), ('EXPIRE', key, -1), ('PERSIST', key),
        ('KEYS', '*'), ('DBSIZE',),
    ])


def same_as_redis():
    """random commands on lists and strings: the replies of a redis-server"""
    lists = errors = 0
    with Redis() as redis, Alone(V2) as server:
        theirs, ours = redis.client(), server.client()
        for turn in range(200):
            commands = [random_command() for _ in range(50)]
            for command, want, got in zip(commands, theirs.pipeline(commands),
                                          ours.pipeline(commands)):
                if command[0] == 'KEYS':
                    want.sort()
                    got.sort()
                equal(got, want, ' '.join(map(str, command))[:100])
                lists += isinstance(got, list) and len(got) > 0
                errors += isinstance(got, Error)
    assert lists > 500 and errors > 500, (lists, errors)
    diag(f'10000 commands, {lists} replies with elements, {errors} errors')


def long_lists():
    """a list with elements of any size, as long as there is memory for it"""
    with Alone(V2, '--max-memory', '16m') as server:
        client = server.client()
        client('SET', 'a', 'x')
        used = int(client.info()['used_memory'])
        sizes = [0, 1, 2000, 2023, 2024, 2025, 4072, 4073, 65536, 3000001]
        values = [random.randbytes(size) for size in sizes]
        equal(client('RPUSH', 'l', *values), len(values))
        equal(client('LRANGE', 'l', 0, -1), values)
        for i, value in enumerate(values):
            equal(client('LINDEX', 'l', i), value, i)
        equal(client('LPOP', 'l', 5), values[:5])
        equal(client('RPOP', 'l', 5), values[:4:-1])
        n = 0
        while client('RPUSH', 'l',
                     *[f'{n}:{i}' for i in range(1000)]) == 1000 * (n + 1):
            n += 1
        equal(client('LLEN', 'l'), n * 1000)
        equal(client('LRANGE', 'l', -3, -1),
              [f'{n - 1}:{i}'.encode() for i in range(997, 1000)])
        # A longer list would need more than is left: others take that.
        fill = 0
        for size in 5000, 100, 5000:
            while client('SET', f'fill:{fill}', size * 'x') == b'OK':
                fill += 1
        assert isinstance(client('LPUSH', 'new', 5000 * 'x'), Error)
        equal(client('EXISTS', 'new'), 0)
        assert n > 100, n
        equal(client('DEL', *(f'fill:{i}' for i in range(fill + 1))), fill)
        for i in range(20):
            equal(client('LPOP', 'l', 1000)[i], f'{i}:{i}'.encode())
            equal(client('RPOP', 'l'), f'{n - 1}:{999 - i}'.encode())
        equal(client('DEL', 'l'), 1)
        used = int(client.info()['used_memory']) - used
        # A slab of each size that was in use, and nothing else.
        assert used < 3 << 20, used


def idle_time():
    """OBJECT IDLETIME, since version 2"""
    with Alone(V2) as server:
        client = server.client()
        client('SET', 'a', '1')
        assert client('OBJECT', 'IDLETIME', 'a') < 2
        wait_for(lambda: client('OBJECT', 'IDLETIME', 'a') >= 2, 'two seconds')
        client('GET', 'a')
        assert client('OBJECT', 'IDLETIME', 'a') < 2
        equal(client('RPUSH', 'l', 'x'), 1)
        assert client('OBJECT', 'IDLETIME', 'l') < 2
        equal(client('OBJECT', 'IDLETIME', 'nix'), None)
        assert isinstance(client('OBJECT', 'FREQ', 'a'), Error)


def options():
    """bad options: one clear line, exit code 2"""
    table = [
        ['--port', '65536'], ['--port', 'x'], ['--port', ''], ['--port', '-1'],
        ['--max-memory', '0'], ['--max-memory', '1x'],
        ['--max-memory', '99999999999999t'], ['--what'], ['--port'], ['what'],
    ]
    for args in table:
        run = subprocess.run([V1, *args], capture_output=True, text=True)
        equal(run.returncode, 2, args)
        equal(run.stderr.count('\n'), 1, f'{args}: {run.stderr}')
    equal(subprocess.run([V1, '--help'], capture_output=True).returncode, 0)
    for args in ['--bind', 'here'], ['--unix', '/nix/nix'], ['--unix', 200 * 'x']:
        run = subprocess.run([V1, '--port', '0', *args], capture_output=True,
                             text=True)
        equal(run.returncode, 1, args)
        equal(run.stderr.count('\n'), 1, f'{args}: {run.stderr}')
        assert args[1] in run.stderr, run.stderr


def taken():
    """a port or a socket that is taken"""
    with Alone(V1) as server:
        port = server.client().info()['tcp_port']
        for args in ['--port', port], ['--port', '0', '--unix', server.path]:
            run = subprocess.run([V1, *args], capture_output=True, text=True)
            equal(run.returncode, 1, args)
            assert 'Address already in use' in run.stderr, run.stderr
        equal(server.client()('PING'), b'PONG')


def tcp():
    """the same over TCP, and SIGTERM ends it"""
    with Alone(V1) as server:
        port = int(server.client().info()['tcp_port'])
        with socket.create_connection(('127.0.0.1', port)) as sock:
            sock.sendall(b'PING\r\n')
            equal(sock.recv(100), b'+PONG\r\n')
        server.process.terminate()
        equal(server.process.wait(), 0, 'exit code')
        assert not os.path.exists(server.path)


def redis_tools():
    """redis-cli and redis-benchmark"""
    if not shutil.which('redis-benchmark'):
        raise Skip('no redis-tools')
    for version in VERSIONS:
        with Alone(version) as server:
            cli = ['redis-cli', '-s', server.path]
            out = subprocess.check_output(cli, input=b'SET a "b c"\nGET a\n')
            equal(out, b'OK\nb c\n')
            out = subprocess.run(cli + ['--pipe'], capture_output=True,
                                 input=b''.join(encode('SET', i, i)
                                                for i in range(10000)))
            assert b'errors: 0, replies: 10000' in out.stdout, out
            out = subprocess.check_output(cli + ['--scan'])
            equal(len(out.split()), 10001, '--scan')
            run = subprocess.run(
                ['redis-benchmark', '-s', server.path, '-q', '-n', '20000',
                 '-t', 'ping,set,get,incr,mset', '-P', '16', '-r', '1000'],
                capture_output=True, text=True)
            equal(run.returncode, 0)
            equal(run.stdout.count('requests per second'), 6, run.stdout)
            assert 'rror' not in run.stdout + run.stderr, run


harness.main([
    one_by_one, resp3, http, no_memory, clock_set_back, in_pieces, malformed, random_bytes, inline, half_closed,
    as_redis, same_as_redis, long_lists, binary, unread_replies, expiring,
    full, scanning, patterns, info, idle_time, options, taken, tcp, redis_tools,
])
