#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Kernel images that are damaged: test-image-damage.py KHO

Whatever was done to an image, there is an error or the right manifest, within
seconds and within bounded memory. Never a wrong manifest.
"""
import json
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import images
from images import BANNER, COMPONENTS, MEMFD, RELEASE, VERSIONS

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

# With the windows of a kernel, 64 to 128 MiB, each of thousands of cases would
# mostly be memory that Meson's MALLOC_PERTURB_ fills. That they can be read is
# a matter of test-image-formats.py.
images.PACKERS.update({
    'lzma': ['xz', '--format=lzma', '--lzma1=preset=9,dict=1MiB'],
    'xz': ['xz', '--check=crc32', '--x86', '--lzma2=preset=9,dict=1MiB'],
    'zstd': ['zstd', '-22', '--ultra', '-T1', '--zstd=wlog=20'],
})

KHO = os.path.abspath(sys.argv[1])
DIR = tempfile.mkdtemp(prefix='kho-image-damage-')
MIB = 1 << 20
# include/kho/image.h, and some for the program itself.
MEMORY = (192 + 128) * MIB
UNPACKED = 512 * MIB
# A sanitizer's shadow takes more of the address space than any limit gives.
SANITIZED = b'__asan_' in open(KHO, 'rb').read()
# Far more than it takes; a machine may be busy.
SECONDS = 20


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (UNPACKED, UNPACKED))
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def look(*paths):
    """({path: manifest}, the errors) of several files."""
    done = subprocess.run([KHO, 'manifest', '--json', *paths],
                          capture_output=True, preexec_fn=limit, timeout=300,
                          errors='replace')
    assert done.returncode in (0, 1, 2), done
    assert re.fullmatch(r'(kho: [^\n]+: [^\n]+\n)*', done.stderr), done
    documents = map(json.loads, done.stdout.splitlines())
    return {d['target']: d for d in documents}, done.stderr.splitlines()


def is_right(document):
    found = {c['name']: c['write']['max'] for c in document['components']}
    return found == COMPONENTS and document['image']['release'] == RELEASE \
        and document['image']['missing'] == ''


def judge(damaged):
    """[(what was done, bytes)]: how many are right, how many are errors."""
    right = wrong = 0
    for begin in range(0, len(damaged), 50):
        some = damaged[begin:begin + 50]
        paths = {}
        for n, (what, data) in enumerate(some):
            path = f'{DIR}/{n}'
            with open(path, 'wb') as f:
                f.write(data)
            paths[path] = what
        documents, errors = look(*paths)
        for path, document in documents.items():
            assert is_right(document), f'{paths[path]}: {document}'
        right += len(documents)
        wrong += len(errors)
        assert len(documents) + len(errors) == len(some), errors
    return right, wrong


def changes(data, fields):
    """Each field in turn becomes 0, 1, its maximum, one more and one less."""
    out = []
    for name, at, size in fields:
        top = (1 << 8 * size) - 1
        old = int.from_bytes(data[at:at + size], 'little')
        for new in {0, 1, top, old + 1 & top, old - 1 & top} - {old}:
            changed = bytearray(data)
            changed[at:at + size] = new.to_bytes(size, 'little')
            out.append((f'{name} at {at:#x}: {old:#x} -> {new:#x}',
                        bytes(changed)))
    return out


def pe_fields(data, at=None):
    at = struct.unpack_from('<I', data, 0x3c)[0]
    n, optional = struct.unpack_from('<H', data, at + 6)[0], \
        struct.unpack_from('<H', data, at + 20)[0]
    fields = [('MZ', 0, 2), ('e_lfanew', 0x3c, 4), ('PE', at, 4),
              ('machine', at + 4, 2), ('sections', at + 6, 2),
              ('optional', at + 20, 2)]
    for i in range(n):
        entry = at + 24 + optional + 40 * i
        fields.append((f'section {i} name', entry, 8))
        for name, offset in (('size', 8), ('address', 12), ('file size', 16),
                             ('file offset', 20), ('flags', 36)):
            fields.append((f'section {i} {name}', entry + offset, 4))
    return fields


BZIMAGE = [('setup_sects', 0x1f1, 1), ('syssize', 0x1f4, 4),
           ('boot_flag', 0x1fe, 2), ('jump', 0x200, 2), ('header', 0x202, 4),
           ('version', 0x206, 2), ('kernel_version', 0x20e, 2),
           ('loadflags', 0x211, 1), ('payload_offset', 0x248, 4),
           ('payload_length', 0x24c, 4), ('init_size', 0x260, 4)]
ARM64 = [('code0', 0, 4), ('text_offset', 8, 8), ('image_size', 16, 8),
         ('flags', 24, 8), ('magic', 0x38, 4)]
ZBOOT = [('zimg', 4, 4), ('payload offset', 8, 4), ('payload size', 12, 4),
         ('reserved', 16, 8), ('type', 24, 4), ('type', 24, 8),
         ('magic', 0x38, 4)]


def elf_fields(data):
    fields = [('ident', i, 1) for i in range(16)]
    at = 16
    for size in (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2):
        fields.append(('elf header', at, size))
        at += size
    phoff, shoff = struct.unpack_from('<QQ', data, 32)
    phnum, shnum = (struct.unpack_from('<H', data, at)[0] for at in (56, 60))
    for i in range(phnum):
        at = phoff + 56 * i
        for size in (4, 4, 8, 8, 8, 8, 8, 8):
            fields.append((f'program header {i}', at, size))
            at += size
    for i in range(shnum):
        at = shoff + 64 * i
        for size in (4, 4, 8, 8, 8, 8, 4, 4, 8, 8):
            fields.append((f'section header {i}', at, size))
            at += size
    return fields


# Bytes of what comes before the data. These two have no checksum behind them.
PACKED_HEADER = {'lz4': 8, 'lzma': 13}
# Nothing that is found twice, so that each loss shows.
KERNEL = images.vmlinux(init_data=b'initramfs')
ARM = images.arm64()


def said(result):
    right, errors = result
    assert errors
    tap.diag(f'{right} still right, {errors} errors')


def bzimage_fields():
    """each field of a bzImage's header"""
    damaged = []
    for how in images.PACKERS:
        image = images.bzimage(KERNEL, how)
        begin = 1024 + 64
        end = begin + struct.unpack_from('<I', image, 0x24c)[0]
        fields = BZIMAGE + [('size', end - 4, 4)] + \
            [(f'{how} byte', begin + i, 1)
             for i in range(PACKED_HEADER.get(how, 24))]
        damaged += changes(image, fields)
    said(judge(damaged))


def vmlinux_fields():
    """each field of a vmlinux's headers, sections and segments"""
    said(judge(changes(KERNEL, elf_fields(KERNEL))))


def arm64_fields():
    """each field of an arm64 Image's headers"""
    said(judge(changes(ARM, ARM64 + pe_fields(ARM))))


def zboot_fields():
    """each field of an EFI zboot's headers"""
    damaged = []
    for how in images.PACKERS:
        image = images.zboot(ARM, how)
        offset, size = struct.unpack_from('<II', image, 8)
        end = offset + size + (0 if how == 'gzip' else 4)
        damaged += changes(image, ZBOOT + pe_fields(image) +
                           [('size', end - 4, 4)])
    said(judge(damaged))


def uki_fields():
    """each field of a UKI's headers"""
    image = images.uki(images.bzimage(KERNEL))
    said(judge(changes(image, pe_fields(image))))


def packed_fields():
    """each byte that a packed file begins and ends with"""
    damaged = []
    for how in images.PACKERS:
        for kernel in KERNEL, ARM:
            image = images.pack(how, kernel)
            fields = [(f'{how} byte', i, 1)
                      for i in range(PACKED_HEADER.get(how, 24))]
            if how not in PACKED_HEADER:
                fields += [(f'{how} end', len(image) - i, 1)
                           for i in range(1, 25)]
            damaged += changes(image, fields)
    said(judge(damaged))


def noise(size):
    return random.Random(1).randbytes(size)


def truncations():
    """images that are cut at each 4 KiB, and near their end"""
    content = [noise(60000), VERSIONS, noise(60000), MEMFD, noise(60000)]
    kernel = images.vmlinux(BANNER + b''.join(content[:3]),
                            b''.join(content[3:]))
    image = images.arm64(BANNER + b''.join(content))
    whole = [('vmlinux', kernel), ('Image', image)]
    for how in images.PACKERS:
        whole += [(f'bzImage {how}', images.bzimage(kernel, how)),
                  (f'zboot {how}', images.zboot(image, how)),
                  (f'UKI {how}', images.uki(images.bzimage(kernel, how))),
                  (f'vmlinux.{how}', images.pack(how, kernel)),
                  (f'Image.{how}', images.pack(how, image)),
                  (f'plain Image.{how}',
                   images.pack(how, images.arm64(BANNER + b''.join(content),
                                                 efi=False)))]
    right = errors = 0
    for name, data in whole:
        if name != 'plain Image.lz4':
            assert judge([(name, data)]) == (1, 0), name
        ends = {*range(0, len(data), 4096), *range(1, 64, 7),
                *range(len(data) - 1, len(data) - 64, -5)}
        some = judge([(f'{name} cut to {end}', data[:end]) for end in ends])
        right, errors = right + some[0], errors + some[1]
    assert not right
    said((right, errors))


def gzip_bomb(mib):
    """Blocks that begin anew can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b'\x1f\x8b\x08' + bytes(6) + b'\3' + mib * block + b'\3\0' + bytes(8)


def zstd_bomb(mib):
    """Blocks of 128 KiB that repeat one byte."""
    block = struct.pack('<I', 128 << 10 << 3 | 1 << 1)[:3] + b'\0'
    return b'\x28\xb5\x2f\xfd\0\x58' + 8 * mib * block + b'\1\0\0'


def lz4_bomb(mib):
    chunk = images.pack('lz4', bytes(8 * MIB))[4:]
    return struct.pack('<I', 0x184c2102) + mib // 8 * chunk


def xz_bomb(mib, text=bytes(MIB), options=('--format=xz', '-0')):
    """Many times the same, through a pipe."""
    packer = subprocess.Popen(['xz', *options], stdin=subprocess.PIPE,
                              stdout=open(f'{DIR}/xz', 'wb'))
    for _ in range(mib):
        packer.stdin.write(text)
    packer.stdin.close()
    assert packer.wait() == 0
    with open(f'{DIR}/xz', 'rb') as f:
        return f.read()


def bzip2_bomb(mib):
    packer = subprocess.Popen(['bzip2', '-9'], stdin=subprocess.PIPE,
                              stdout=open(f'{DIR}/bzip2', 'wb'))
    for _ in range(mib):
        packer.stdin.write(bytes(MIB))
    packer.stdin.close()
    assert packer.wait() == 0
    with open(f'{DIR}/bzip2', 'rb') as f:
        return f.read()


def explode(data, *words):
    with open(f'{DIR}/bomb', 'wb') as f:
        f.write(data)
    begin = time.monotonic()
    documents, errors = look(f'{DIR}/bomb')
    took = time.monotonic() - begin
    assert not documents and len(errors) == 1, errors
    assert any(w in errors[0] for w in words), errors
    return took


def bomb_image(payload, size):
    """A bzImage that says that its payload has @size bytes."""
    payload += struct.pack('<I', size)
    code = bytes(64) + payload
    code += bytes(-len(code) % 16)
    setup = bytearray(images.bzimage()[:1024])
    struct.pack_into('<I', setup, 0x1f4, len(code) // 16)
    struct.pack_into('<II', setup, 0x248, 64, len(payload))
    return bytes(setup) + code


def bombs():
    """gigabytes of zeros, alone and in a bzImage"""
    longest = 0
    for make, mib in ((gzip_bomb, 8192), (zstd_bomb, 8192), (lz4_bomb, 8192),
                      (xz_bomb, 520), (bzip2_bomb, 520)):
        bomb = make(mib)
        took = [explode(bomb, 'more than')]
        # What it says is: too much, the most, less than there is.
        took.append(explode(bomb_image(bomb, 0xffffffff), 'larger than'))
        took.append(explode(bomb_image(bomb, UNPACKED), 'more than'))
        took.append(explode(bomb_image(bomb, 100000), 'more than'))
        longest = max(longest, *took)
        print(f'# {make.__name__}: {len(bomb)} bytes, '
              f'{", ".join(f"{t:.2f} s" for t in took)}')
    # Not zeros: what is unpacked takes memory, up to the limit.
    bomb = xz_bomb(520, noise(1 << 10) * 1024)
    print(f'# not zeros: {explode(bomb, "more than"):.2f} s')
    bomb = xz_bomb(520, options=('--format=lzma', '-0'))
    print(f'# lzma: {explode(bomb, "more than"):.2f} s')
    # The most that may be there, but it is no kernel.
    bomb = gzip_bomb(512)
    explode(bomb[:-8] + struct.pack('<II', zlib.crc32(bytes(512 * MIB)),
                                    512 * MIB), 'not a kernel')
    tap.diag(f'{longest:.1f} s at most')


def hungry():
    """dictionaries that are larger than any kernel's"""
    data = bytearray(images.pack('lzma', KERNEL))
    struct.pack_into('<I', data, 1, 1 << 30)
    explode(bytes(data), 'memory')
    explode(subprocess.run(['xz', '--lzma2=dict=1GiB'], input=KERNEL,
                           capture_output=True, check=True).stdout, 'memory')
    # A window of 256 MiB.
    data = b'\x28\xb5\x2f\xfd\0\x90' + struct.pack('<I', 1 << 3 | 1)[:3] + b'a'
    explode(data, "more memory than a kernel's may")
    # As many notes, sections or segments as fit into their fields.
    data = bytearray(KERNEL)
    struct.pack_into('<H', data, 60, 0xfeff)
    explode(bytes(data) + bytes(64 * 0xffff), 'sections', 'section headers')


def sparse():
    """a file that says to have terabytes"""
    for data in images.arm64(), images.bzimage(), gzip_bomb(1), KERNEL:
        path = f'{DIR}/sparse'
        with open(path, 'wb') as f:
            f.write(data)
            f.truncate(1 << 42)
        documents, errors = look(path)
        assert all(map(is_right, documents.values())), documents
        assert len(documents) + len(errors) == 1


TESTS = [bzimage_fields, vmlinux_fields, arm64_fields, zboot_fields, uki_fields,
         packed_fields, truncations, bombs, hungry, sparse]


try:
    lacking = images.lacking()
    tap.main(TESTS, sys.argv[2:],
             missing=lacking and f'{", ".join(lacking)}: not installed')
finally:
    shutil.rmtree(DIR, ignore_errors=True)
