#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Kernel images as TARGETs: test-image-formats.py KHO"""
import gzip
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

import images
from images import BANNER, COMPONENTS, MEMFD, RELEASE, VERSIONS

sys.path.insert(0, os.path.dirname(__file__) + '/..')
import tap

KHO = os.path.abspath(sys.argv[1])
DIR = tempfile.mkdtemp(prefix='kho-image-')
MISSING = 'was built without CONFIG_KEXEC_HANDOVER'


def kho(*args, code=None, env=None, **options):
    """Runs the command; checks the exit code and the form of its errors."""
    done = subprocess.run(
        [KHO, *args], capture_output=True, timeout=60, errors='replace',
        env={**os.environ, 'KHO_RUNTIME_DIR': f'{DIR}/run', **(env or {})},
        **options)
    if code is not None:
        assert done.returncode == code, \
            f'exit {done.returncode}, not {code}: {done}'
    if done.returncode == 2:
        assert re.fullmatch(r'(kho: [^\n]+: [^\n]+\n)+', done.stderr), done
    return done


def file(name, data=b''):
    path = f'{DIR}/{name}'
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)
    return path


def manifest(data, code=0, name='image'):
    done = kho('manifest', '--json', file(name, data), code=code)
    return json.loads(done.stdout)


def versions(document):
    for c in document['components']:
        assert c['write'] == c['read'] and c['write']['min'] == c['write']['max']
    return {c['name']: c['write']['max'] for c in document['components']}


def refused(data, *words):
    error = kho('manifest', file('image', data), code=2).stderr
    for word in words:
        assert word in error, error


def learnt(rodata, data=b''):
    return versions(manifest(images.vmlinux(BANNER + rodata, data)))


def missing(document):
    assert document['components'] == [], document
    return document['image']['missing']


def patched(data, at, form, value):
    return data[:at] + struct.pack(form, value) + \
        data[at + struct.calcsize(form):]


# The formats

def check_image(data, form):
    document = manifest(data)
    assert versions(document) == COMPONENTS, document
    assert document['image']['release'] == RELEASE
    assert document['image']['missing'] == ''
    assert document['image']['format'] == form, document['image']
    path = f'{DIR}/image'
    assert document['sources'] == [path, f'{path}: version strings']
    for c in document['components']:
        assert c['source'] == f'{path}: version strings'


def bzimages():
    """bzImage, with each way of packing"""
    for how in images.PACKERS:
        check_image(images.bzimage(how=how), f'bzImage, {how}, vmlinux')
    # A signature is put behind it.
    check_image(images.bzimage() + bytes(1472), 'bzImage, gzip, vmlinux')
    check_image(images.bzimage(version=0x208), 'bzImage, gzip, vmlinux')


def vmlinuxes():
    """vmlinux, of x86 and arm64, packed as a whole too"""
    arm = images.vmlinux(machine=183, kind=3, base=0xffff800080000000)
    check_image(images.vmlinux(), 'vmlinux')
    check_image(arm, 'vmlinux')
    for how in images.PACKERS:
        check_image(images.pack(how, arm), f'{how}, vmlinux')


def arm64_images():
    """arm64 Image, with a signature, and packed as a whole"""
    check_image(images.arm64(), 'arm64 Image')
    check_image(images.arm64() + bytes(5000), 'arm64 Image')
    for how in images.PACKERS:
        check_image(images.pack(how, images.arm64()), f'{how}, arm64 Image')
        # Then there is something else that says whether it is whole.
        plain = images.pack(how, images.arm64(efi=False))
        if how == 'lz4':
            refused(plain, 'CONFIG_EFI')
        else:
            check_image(plain, f'{how}, arm64 Image')
    # A string behind the end is no part of it.
    image = images.arm64(BANNER)
    image = image.ljust(struct.unpack_from('<Q', image, 16)[0], b'\0')
    assert missing(manifest(image + VERSIONS, 1)) == MISSING


def zboots():
    """EFI zboot, with each way of packing and the names that it had"""
    for how in images.PACKERS:
        check_image(images.zboot(how=how),
                    f'EFI zboot, {how}, arm64 Image')
    check_image(images.zboot(how='xz', name='xzkern'),
                'EFI zboot, xz, arm64 Image')
    check_image(images.zboot(how='zstd', name='zstd22'),
                'EFI zboot, zstd, arm64 Image')


def ukis():
    """UKI, around each of the others; its command line"""
    check_image(images.uki(), 'UKI, bzImage, gzip, vmlinux')
    check_image(images.uki(images.arm64()), 'UKI, arm64 Image')
    check_image(images.uki(images.zboot(how='zstd')),
                'UKI, EFI zboot, zstd, arm64 Image')
    line = manifest(images.uki())['image']['cmdline']
    assert line == 'console=ttyS0 kho=on', line
    assert manifest(images.bzimage())['image']['cmdline'] == ''
    line = manifest(images.uki(cmdline='\x1b[31m' + 9000 * 'x'))
    assert line['image']['cmdline'] == ' [31m' + 4090 * 'x'
    # Many device trees, as ukify --devicetree-auto makes; there is no limit.
    for n in 100, 1000:
        check_image(images.uki(first=[('.dtbauto', b'\xd0\x0d\xfe\xed')] * n),
                    'UKI, bzImage, gzip, vmlinux')


def profiles():
    """UKIs with profiles: what is started when none is chosen"""
    other = images.bzimage(images.vmlinux(BANNER, b''))
    mark = ('.profile', b'ID=x')
    line = ('.cmdline', b'kho=off')

    def cmdline(*args, **how):
        return manifest(images.uki(*args, **how))['image']['cmdline']

    # ukify puts the first mark before all of them, and there is no base.
    more = {'first': [mark], 'extra': [mark, ('.linux', other), line]}
    check_image(images.uki(**more), 'UKI, bzImage, gzip, vmlinux')
    assert cmdline(**more) == 'console=ttyS0 kho=on'
    assert cmdline(cmdline=None, **more) == ''
    # A base, for all that have no section of their own.
    assert cmdline(extra=[mark]) == 'console=ttyS0 kho=on'
    assert cmdline(extra=[mark, line]) == 'kho=off'
    assert cmdline(cmdline=None, extra=[mark, mark, line]) == ''
    assert cmdline(extra=[mark, mark, line]) == 'console=ttyS0 kho=on'
    document = manifest(images.uki(extra=[mark, ('.linux', other)]), 1)
    assert missing(document) == MISSING, document
    refused(images.uki(b'', extra=[mark, mark, ('.linux', other)]).replace(
        b'.linux', b'.Linux', 1), 'no section .linux')


def members():
    """several packed behind each other are what gzip -dc makes of them"""
    padding = 70000 * b'\1'
    kernel = images.vmlinux(BANNER + VERSIONS + padding)
    arm = images.arm64(BANNER + padding + VERSIONS + MEMFD, efi=False)

    def packed(how, data):
        # Level 22 takes its time, however little there is.
        return images.pack(how, data) if how != 'zstd' else subprocess.run(
            ['zstd', '-q'], input=data, capture_output=True, check=True).stdout
    for how in images.PACKERS:
        # The ends are at any place of a window, zeros between are allowed.
        for pieces, gap in (3, 0), (2, 1 << 16):
            if how == 'lz4' and gap:
                continue

            def pack(data):
                step = len(data) // pieces + 1
                return bytes(gap).join(packed(how, data[i:i + step]) for
                                       i in range(0, len(data), step))
            check_image(pack(kernel), f'{how}, vmlinux')
            if how == 'lz4':
                refused(pack(arm), 'CONFIG_EFI')
            elif not gap:
                check_image(pack(arm), f'{how}, arm64 Image')
        # A payload's size is that of all.
        half = len(kernel) // 2
        if how != 'gzip':
            check_image(images.bzimage(kernel, how=how, half=half),
                        f'bzImage, {how}, vmlinux')
        # Something else behind it: who does not say where he ends is in doubt.
        whole, doubtful = packed(how, kernel), packed(how, arm)
        for rest in b'\1', padding, b'\x1f\x8b', b'\x28\xb5\x2f':
            if how != 'lz4':
                check_image(whole + rest, f'{how}, vmlinux')
            refused(doubtful + rest, 'something else is behind' if
                    how == 'lz4' and len(rest) > 3 else
                    'its end is missing' if how == 'lz4' else 'CONFIG_EFI')
        refused(whole + whole[:-5], 'its end is missing')
    refused(gzip.compress(b'', mtime=0) * 70000, 'too many pieces')
    # pzstd: a frame to be skipped, with the size of the next one, before each.
    skipped = b''.join(struct.pack('<III', 0x184d2a50, 4, len(p)) + p for p in (
        packed('zstd', kernel[:half]), packed('zstd', kernel[half:])))
    check_image(skipped, 'zstd, vmlinux')


def little_memory():
    """with little memory, a good image is never called damaged"""
    for name, image in (*((how, images.pack(how, images.vmlinux(
            BANNER + VERSIONS + os.urandom(1 << 20)))) for how in images.PACKERS),
            ('vmlinux', images.vmlinux())):
        path, said = file(name, image), set()
        for limit in range(10 << 10, 240 << 10, 11 << 10):
            done = subprocess.run(
                ['prlimit', f'--as={limit << 10}', KHO, 'manifest', path],
                capture_output=True, timeout=60, errors='replace', check=False)
            said.add(done.returncode)
            assert not re.search('damage|truncat|wrong|not a', done.stderr), \
                (name, limit, done)
            if done.returncode == 0:
                break
        assert 0 in said, (name, said)
    # More than a kernel's may.
    big = subprocess.run(['xz', '--lzma2=preset=0,dict=512MiB'], check=True,
                         input=images.vmlinux(), capture_output=True).stdout
    refused(big, 'cannot be unpacked', 'more memory')
    big = subprocess.run(['zstd', '--long=30', '--ultra', '-'], check=True,
                         input=images.vmlinux(), capture_output=True).stdout
    refused(big, 'cannot be unpacked', 'more memory')


def others():
    """what is no kernel, or none that can be read, and why"""
    elf = images.vmlinux()
    refused(images.bzimage(version=0x207), 'boot protocol 2.07')
    refused(images.bzimage(elf[:4] + b'\1' + elf[5:]), 'not a 64-bit')
    refused(images.bzimage(b'hello'), 'not a kernel')
    refused(images.bzimage(images.bzimage()), 'packed twice')
    refused(images.pack('zstd', images.bzimage()), 'packed twice')
    refused(images.zboot(name='lzo'), "'lzo'", 'vmlinux')
    refused(images.uki(elf), 'cannot start it')
    refused(images.uki(images.uki(images.uki(images.uki()))), 'nested')
    refused(images.uki(None).replace(b'.linux', b'.Linux'), 'no section .linux')
    refused(images.arm64(efi=False), 'CONFIG_EFI', 'vmlinux')
    refused(images.arm64(flags=0xb), 'big-endian')
    refused(images.pack('gzip', b'hello'), 'not a kernel')
    refused(images.vmlinux(VERSIONS), "no 'Linux version'")
    refused(images.vmlinux(BANNER.replace(b'7', b'%', 1) + VERSIONS),
            "no 'Linux version'")
    # Headers that are damaged in a way that would hide something.
    refused(patched(images.bzimage(), 0x24c, '<I', 0x7fffffff), 'payload is')
    refused(images.bzimage()[:-16], 'truncated')
    for how in images.PACKERS:
        image = images.bzimage(how=how)
        at = 1024 + 64 + struct.unpack_from('<I', image, 0x24c)[0] - 4
        size = struct.unpack_from('<I', image, at)[0]
        refused(patched(image, at, '<I', size + 1), how, 'damaged')
        refused(patched(image, at, '<I', size - 1), how, 'damaged'
                if how == 'gzip' else 'more than')
    image = images.arm64()
    refused(patched(image, 16, '<Q', len(image) - 100), 'ends beyond')
    refused(patched(images.zboot(), 8, '<I', 0x7fffffff), 'payload is')
    stripped = patched(patched(patched(elf, 40, '<Q', 0), 60, '<H', 0), 62, '<H', 0)
    refused(stripped, 'cannot tell', 'section headers were stripped')
    refused(images.bzimage(stripped), 'section headers were stripped')
    refused(patched(elf, 58, '<H', 128), 'cannot tell', 'section headers')
    for data, *words in (
            (patched(patched(images.bzimage(), 0x248, '<Q', 0), 0x1f4, '<I', 1 << 20),
             'bzImage', 'memtest86+'),
            # Xen: a 32-bit ELF file with a multiboot header.
            (images.pack('gzip', b'\x7fELF\1\1\1'.ljust(4096, b'\0') + struct.pack(
                '<III', 0x1badb002, 3, 2**32 - 0x1badb002 - 3)), 'multiboot', 'Xen'),
            (images.uki().replace(b'.linux', b'.pad\0\0'), 'neither a Linux kernel'),
            (b'ANDROID!'.ljust(4096, b'\0'), 'Android'),
            (b'\x27\x05\x19\x56'.ljust(64, b'\0'), 'U-Boot'),
            (b'\xd0\x0d\xfe\xed'.ljust(64, b'\0'), 'FIT'),
            (b'\x04\x22\x4d\x18'.ljust(64, b'\0'), "lz4's frame format"),
            (b'\x89LZO\0\r\n\x1a\n'.ljust(64, b'\0'), 'lzop'),
            (b'MZ'.ljust(0x30, b'\0') + b'RISCV\0\0\0RSC\x05'.ljust(64, b'\0'),
             'RISC-V'),
            (b'MZ'.ljust(0x38, b'\0') + b'\xcd\x23\x82\x81'.ljust(64, b'\0'),
             'architecture')):
        refused(data, *words)
        error = kho('manifest', file('image', data), code=2).stderr
        assert not re.search('damaged|truncated', error), error
    refused(images.pack('gzip', b'ANDROID!'.ljust(4096, b'\0')),
            'gzip, and in it an Android')
    refused(b'#!/bin/sh\n', 'script')
    refused(b'MZ', 'damaged')
    refused(b'hello', 'neither', 'kernel')
    # A program is not taken for a kernel.
    done = kho('manifest', KHO)
    assert 'Linux' not in done.stdout, done


# What can be learnt

def strings():
    """version strings: known names, whole strings, and nothing else"""
    assert learnt(b'\0kho-v4\0') == {'kho': 4, 'block': 1, 'radix': 1,
                                     'vmalloc': 1}
    assert learnt(b'\0kho-v17\0') == {'kho': 17}
    assert learnt(b'\0kho-v1\0luo-v1\0luo-session-v2\0luo-flb-v1\0memfd-v1\0') == {'kho': 1, 'luo': 1, 'luo-session': 2,
                                'luo-flb': 1, 'memfd': 1}
    # A structure may begin with one, behind a pointer.
    assert learnt(b'\xff\xffkho-v4\0')['kho'] == 4
    for wrong in (b'\0kho-v4 \0', b'\0kho-V4\0', b'\0xkho-v4\0', b'\0 kho-v4\0',
                  b'\0-kho-v4\0', b'\0kho-v4\n\0', b'\0kho_v4\0', b'\0khoo-v4\0',
                  b'\0vfio-v1\0', b'\0kho-vfio-v1\0', b"\0incompatible with 'kho-v4'\0",
                  b'\0kexec-metadata-v1\0', b'\0kho-v4\xff\0'):
        document = manifest(images.vmlinux(BANNER + wrong, b''), 1)
        assert missing(document) == MISSING, wrong


def not_understood():
    """a version that nobody understands is neither yes nor no"""
    for odd in (b'kho-v', b'kho-v0', b'kho-v04', b'kho-v4x', b'kho-v4.', b'kho-v4.1',
                b'kho-v%u', b'kho-v99999999999', b'kho-v4;', b'kho-v4;x',
                b'kho-v4;luo-v0', b'kho-v4,radix-v1', b'kho-v4' + 300 * b';',
                b'kho-v4' + b''.join(b';n%d-v1' % i for i in range(40)),
                b'kho-v4' + b''.join(b';n%d-v1' % i for i in range(9))):
        # With one that is understood, and without it.
        for known in b'', b'kho-v4\0':
            refused(images.vmlinux(BANNER + b'\0' + known + odd + b'\0', b''),
                    "cannot tell: 'kho-v")
        # Of LUO: it would be lost, or the next kernel panics.
        odd = odd.replace(b'kho', b'luo', 1)
        refused(images.vmlinux(BANNER + VERSIONS + odd + b'\0'), 'cannot tell',
                "'luo-v")
        # What is off does not matter, nor what is promised.
        configured(VERSIONS + odd + b'\0', KEXEC_HANDOVER='y', LIVEUPDATE='n')
        manifest(images.vmlinux(BANNER + VERSIONS + odd + b'\0',
                                versions=images.listed('luo-v5')))
    # A composite may be longer than a handler's.
    long = b'kho-v4' + b''.join(b';structure-%d-v1' % i for i in range(8))
    assert len(learnt(b'\0' + long + b'\0')) == 9


def unknown_versions():
    """what there is, without a version"""
    def doubt(strings_, word, **options):
        built = images.config(**options) if options else b''
        refused(images.vmlinux(BANNER + b'\0' + strings_ + built, b''),
                'cannot tell', f'no {word} version', 'newer kho')

    # Without kho there is nothing that the others could be in.
    doubt(b'luo-v5\0', 'kho')
    for word in b'kexec-metadata\0', b'preserved-memory-map\0':
        doubt(word, 'kho')
        doubt(word, 'kho', IKCONFIG='y')
        document = configured(b'\0' + word, b'', 1, KEXEC_HANDOVER='n')
        assert missing(document) == MISSING
    doubt(b'kho-v4\0liveupdate\0', 'luo')
    doubt(b'kho-v4\0liveupdate\0', 'luo', KEXEC_HANDOVER='y')
    configured(b'\0kho-v4\0liveupdate\0', b'', KEXEC_HANDOVER='y', LIVEUPDATE='n')
    doubt(b'kho-v4\0luo-v5\0', 'memfd')
    on = {'KEXEC_HANDOVER': 'y', 'LIVEUPDATE': 'y'}
    assert 'luo' in versions(configured(b'\0kho-v4\0luo-v5\0', b'', **on))
    # Only the name of a header's folder.
    learnt(b'\0kho-v4\0linux/liveupdate.h\0')


def unmentioned():
    """strings of what the configuration does not have"""
    for options, word in (
            ({'IKCONFIG': 'y'}, 'HANDOVER'), ({'KEXEC_HANDOVER': 'm'}, 'HANDOVER'),
            ({'KEXEC_HANDOVER_DEBUG': 'y'}, 'HANDOVER'),
            ({'ARCH_SUPPORTS_KEXEC_HANDOVER': 'y'}, 'HANDOVER'),
            ({'KEXEC_HANDOVER': 'y'}, 'LIVEUPDATE')):
        refused(images.vmlinux(BANNER + VERSIONS + images.config(**options)),
                "cannot tell: '", f'configuration does not have CONFIG_', word)


def initramfs():
    """files that are built in may have versions of their own"""
    def cpio(mode, data):
        fields = (1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, 2, 0)
        return b'070701' + b''.join(b'%08X' % f for f in fields) + b'a\0' + data

    # A device and folders are in each kernel.
    plain = cpio(0o40755, b'') + cpio(0o20600, b'') + b'070701\0'
    check_image(images.arm64(BANNER + VERSIONS + MEMFD + plain), 'arm64 Image')
    assert missing(manifest(images.arm64(
        BANNER + cpio(0o100755, b'hello')), 1)) == MISSING
    refused(images.arm64(BANNER + cpio(0o100755, VERSIONS)), 'initramfs',
            'vmlinux')
    refused(images.arm64(BANNER + VERSIONS + MEMFD + cpio(0o100755, b'x')),
            'initramfs')
    # A vmlinux says where it is.
    check_image(images.vmlinux(init_data=cpio(0o100755, VERSIONS)), 'vmlinux')


def composites():
    """what a kernel says with its dependencies"""
    document = manifest(images.vmlinux(
        BANNER + b'\0kho-v4;radix-v1;vmalloc-v2\0luo-v5;block-v3\0'
        b'memfd-v2;vmalloc-v2\0', b''))
    assert versions(document) == {'kho': 4, 'radix': 1, 'vmalloc': 2, 'luo': 5,
                                  'block': 3, 'memfd': 2}
    deps = {c['name']: c['deps'] for c in document['components']}
    assert deps['kho'] == ['radix', 'vmalloc'] and deps['memfd'] == ['vmalloc']
    structure = {c['name'] for c in document['components'] if c['structure']}
    assert structure == {'radix', 'vmalloc', 'block'}


def several():
    """two versions of one component in the data: nobody knows which one counts"""
    def doubt(strings_, name, *words, **more):
        image = images.vmlinux(BANNER + b'\0' + strings_ + b'\0', **more)
        refused(image, f'cannot tell which version of {name} it reads',
                '.note.kho', *words)
        # Neither the one nor the other is what it hands over, or takes over.
        here, other = file('here', image), file('other', images.bzimage())
        kho('check', here, other, code=2)
        kho('check', other, here, code=2)
        kho('check', '--allow-degraded', here, here, code=2)
        assert json.loads(kho('matrix', '--json', here, other,
                              code=2).stdout)['unreadable'] == [here]
        kho('plan', other, here, code=2)
        kho('plan', here, other, code=2)
        kho('plan', other, other, '--via', here, code=2)

    doubt(b'kho-v4\0kho-v6\0kho-v5\0kho-v2', 'kho', 'v6', 'v4')
    # The one that it compares with, and one that is a part of something else.
    doubt(b'kho-v4\0memfd-v3;luo-v5\0luo-v6', 'luo', 'v5', 'v6', data=b'')
    doubt(b'kho-v4\0luo-v5;block-v1\0luo-v6', 'luo', 'v5', 'v6')
    doubt(b'kho-v4\0luo-v6\0luo-v5;block-v1', 'luo', 'v5', 'v6')
    doubt(b'kho-v4\0luo-v5\0memfd-v1', 'memfd', 'v1', 'v2')
    doubt(b'kho-v4;vmalloc-v1\0luo-v5\0memfd-v2;vmalloc-v2', 'vmalloc', data=b'')
    doubt(b'kho-v4\0memblock-v1\0reserve-mem-v1\0reserve-mem-v2', 'reserve-mem')
    doubt(b'kho-v4\0memblock-v1\0memblock-v2\0reserve-mem-v1', 'memblock')
    # Of what a monolithic version stands for, another one.
    doubt(b'kho-v4\0luo-v5;block-v3', 'block', 'v1', 'v3')
    doubt(b'luo-v5;block-v3\0kho-v4', 'block', 'v1', 'v3')
    doubt(b'kho-v4\0kho-v4;radix-v2', 'radix', 'v1', 'v2')
    doubt(b'kho-v4\0luo-v5', 'radix', notes=images.note('radix', (2, 2)))
    # The same twice is no doubt.
    found = learnt(b'\0kho-v4;radix-v1\0kho-v4\0luo-v5;block-v1\0luo-v5\0', MEMFD)
    assert found == {'kho': 4, 'radix': 1, 'block': 1, 'luo': 5, 'memfd': 2,
                     'vmalloc': 1}, found


def promised():
    """only notes and sections promise a range; a string adds nothing to it"""
    strings_ = BANNER + b'\0kho-v4\0luo-v5;block-v1\0luo-v6\0'
    for image in (images.vmlinux(strings_, notes=images.note('luo', (6, 6), (5, 6))),
                  images.vmlinux(strings_, versions=images.listed('luo-v5', 'luo-v6'))):
        found = {c['name']: c['read'] for c in manifest(image)['components']}
        assert found['luo'] == {'min': 5, 'max': 6}, found
    found = {c['name']: c['read'] for c in manifest(images.vmlinux(
        strings_, notes=images.note('luo', (7, 7))))['components']}
    assert found['luo'] == {'min': 7, 'max': 7}, found


def guessed():
    """a manifest in which a guess is a range, as they once were made"""
    document = manifest(images.bzimage())
    path = file('once.json', json.dumps(document).encode())
    kho('check', path, path, code=0)
    for c in document['components']:
        if c['name'] == 'luo':
            c['read']['max'] = c['write']['min'] = c['write']['max'] = 6
    error = kho('check', path, file('once.json', json.dumps(document).encode()),
                code=2).stderr
    assert 'promise no range: make the manifest again' in error, error


def windows():
    """a string at every place where one window ends and the next begins"""
    size = 256 << 10
    for at in range(-40, 40):
        padding = size + at - 512 - len(BANNER)
        assert versions(manifest(images.arm64(
            BANNER + padding * b'\1' + VERSIONS + MEMFD))) == COMPONENTS, at
        padding = size + at - 512
        assert manifest(images.arm64(
            padding * b'\1' + BANNER + VERSIONS + MEMFD))['image'][
                'release'] == RELEASE, at
    # What is kept of a window for the next one may begin within a text.
    known = BANNER + VERSIONS + MEMFD
    padding = size - 256 - 512 - len(known) - 3
    for at in range(-1, 2):
        assert versions(manifest(images.arm64(
            known + (padding + at) * b'\1' + b'no-kho-v5'.ljust(
                512, b'\0')))) == COMPONENTS, at


def limited():
    """more than RLIMIT_FSIZE lets it write: an error, not the end"""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    for how in 'gzip', 'xz', 'zstd':
        path = file('image', images.bzimage(
            images.vmlinux(BANNER + VERSIONS + b'x' * 10000), how))
        done = kho('manifest', path, code=2, preexec_fn=limit)
        assert f'{path}: cannot unpack it into a memfd: File too large: ' \
            'raise ulimit -f' in done.stderr, done
    with open(file('out'), 'wb') as out:
        done = subprocess.run([KHO, 'abi', '--json'], stdout=out,
                              stderr=subprocess.PIPE, preexec_fn=limit)
    assert done.returncode == 2, done
    assert done.stderr == \
        b'kho: cannot write to standard output: File too large\n', done


def built_in():
    """programs in a built-in initramfs are not the kernel"""
    kernel = images.vmlinux(BANNER + b'\0kho-v4\0', b'',
                            init_data=b'\0kho-v3\0luo-v5\0memfd-v1\0')
    document = manifest(kernel)
    assert versions(document) == {'kho': 4, 'block': 1, 'radix': 1,
                                  'vmalloc': 1}
    kernel = images.vmlinux(BANNER, b'', init_data=VERSIONS)
    assert missing(manifest(kernel, 1)) == MISSING


def configured(strings_, data=MEMFD, code=0, **options):
    kernel = images.vmlinux(BANNER + strings_ + images.config(**options), data)
    return manifest(images.bzimage(kernel), code)


def configurations():
    """what the configuration switches off is not there"""
    on = {'KEXEC_HANDOVER': 'y', 'LIVEUPDATE': 'y', 'LIVEUPDATE_MEMFD': 'y'}
    document = configured(VERSIONS, **on)
    assert versions(document) == COMPONENTS
    assert f'{DIR}/image: embedded configuration' in document['sources']
    document = configured(VERSIONS, code=1, KEXEC_HANDOVER='n')
    assert missing(document) == MISSING, document
    # Such a kernel does not even have the option.
    document = configured(b'\0', b'', 1, IKCONFIG='y')
    assert missing(document) == MISSING, document
    without_luo = {k: v for k, v in COMPONENTS.items()
                   if k not in ('luo', 'memfd')}
    assert versions(configured(VERSIONS, KEXEC_HANDOVER='y',
                               LIVEUPDATE='n')) == without_luo
    document = configured(VERSIONS, **{**on, 'LIVEUPDATE_MEMFD': 'n'})
    assert set(COMPONENTS) - set(versions(document)) == {'memfd'}
    # An older kernel had no such option.
    document = configured(VERSIONS, KEXEC_HANDOVER='y', LIVEUPDATE='y')
    assert versions(document) == COMPONENTS


def contradictions():
    """what is on, but has no version that is known: cannot tell"""
    on = {'KEXEC_HANDOVER': 'y', 'LIVEUPDATE': 'y', 'LIVEUPDATE_MEMFD': 'y'}
    for strings_, data, option in (
            (b'\0', b'', 'CONFIG_KEXEC_HANDOVER'),
            (b'\0luo-v5\0', MEMFD, 'CONFIG_KEXEC_HANDOVER'),
            (b'\0kho-v4\0', MEMFD, 'CONFIG_LIVEUPDATE'),
            (b'\0kho-v4\0luo-v5\0', b'', 'CONFIG_LIVEUPDATE_MEMFD')):
        kernel = images.vmlinux(BANNER + strings_ + images.config(**on), data)
        refused(kernel, f'built with {option},', 'newer kho')
    damaged = bytearray(images.config(**on))
    damaged[30] ^= 1
    refused(images.vmlinux(BANNER + VERSIONS + bytes(damaged)), 'gzip')
    # Only the mark: somebody who looks for it, not a configuration.
    assert learnt(VERSIONS + b'IKCFG_ST\0' + images.config(**on),
                  MEMFD) == COMPONENTS
    assert learnt(VERSIONS + b'IKCFG_ST\0', MEMFD) == COMPONENTS


def better():
    """notes, then .liveupdate_versions, then strings; each with its source"""
    kernel = images.vmlinux(
        notes=images.note('kho', (5, 5), (4, 5), ('radix',)) +
        images.note('radix', (2, 2)),
        versions=images.listed('kho-v4', 'memfd-v7', 'memfd-v6'))
    document = manifest(images.bzimage(kernel))
    found = {c['name']: (c['write']['max'], c['read']['min'],
                         c['source'].removeprefix(f'{DIR}/image: '))
             for c in document['components']}
    assert found == {
        'kho': (5, 4, '.note.kho'), 'radix': (2, 2, '.note.kho'),
        'memfd': (7, 6, '.liveupdate_versions'),
        'luo': (5, 5, 'version strings'), 'block': (1, 1, 'version strings'),
        'memblock': (1, 1, 'version strings'),
        'reserve-mem': (1, 1, 'version strings'),
        'kexec-metadata': (1, 1, 'version strings')}, found
    refused(images.bzimage(images.vmlinux(
        notes=images.note('Kho', (1, 1)))), 'note at offset')
    refused(images.bzimage(images.vmlinux(
        versions=images.listed('kho'))), '.liveupdate_versions at offset')


# Verdicts

def verdicts():
    """what kho check says of kernels"""
    old = file('old', images.bzimage())
    same = file('same', images.zboot(how='zstd'))
    new = file('new', images.bzimage(images.vmlinux(
        BANNER + VERSIONS.replace(b'kho-v4', b'kho-v5'),
        MEMFD.replace(b'memfd-v2', b'memfd-v3'))))
    plain = file('plain', images.uki(images.bzimage(images.vmlinux(
        BANNER, b''))))
    kho('check', old, same, code=0)
    done = kho('check', '--json', old, new, code=1)
    bad = {c['name']: c['verdict'] for c in json.loads(done.stdout)['components']
           if c['verdict'] != 'ok'}
    assert bad == {'kho': 'incompatible', 'memfd': 'incompatible'}, bad
    done = kho('check', old, plain, code=1)
    assert f'kho: old writes kho v4, plain {MISSING}\n' in done.stdout, done
    assert 'optional' not in done.stdout and 'radix' not in done.stdout
    for to in old, plain:
        done = kho('check', plain, to, code=1)
        assert f'kho: plain {MISSING}: it hands nothing over\n' in done.stdout
    kho('check', '--allow-degraded', old, plain, code=1)
    # A manifest in JSON says the same.
    again = file('plain.json', kho('manifest', '--json', plain,
                                   code=1).stdout.encode())
    assert f'It {MISSING}.' in kho('manifest', again, code=1).stdout
    kho('check', old, again, code=1)
    kho('check', again, old, code=1)
    rows = json.loads(kho('matrix', '--json', old, same, new,
                          plain).stdout)['rows']
    assert rows == ['.XX', 'X.X', 'XXX'], rows
    done = kho('plan', plain, old, '--via', new, code=1)


def tables():
    """what kho manifest shows, and its exit code"""
    old = file('old', images.uki())
    plain = file('plain', images.arm64(BANNER))
    shown = kho('manifest', old, code=0).stdout
    assert shown.startswith(
        f'{old}: Linux {RELEASE} (UKI, bzImage, gzip, vmlinux)\n'
        '  command line: console=ttyS0 kho=on\n  COMPONENT '), shown
    assert re.search(r'\n  kho +4 +4 +block,radix,vmalloc .*: version strings\n',
                     shown), shown
    shown = kho('manifest', plain, code=1).stdout
    assert shown == f'{plain}: Linux {RELEASE} (arm64 Image)\n  It {MISSING}. ' \
        'It neither hands over nor takes over anything.\n', shown
    kho('manifest', plain, old, code=1)
    kho('manifest', plain, f'{DIR}/nobody', old, code=2)
    kho('manifest', f'{DIR}/nobody', plain, code=2)


# The running kernel

FDT = struct.Struct('>10I')


def fdt(nodes, first=()):
    """{name: {property: bytes}}, the root being ''; names that come first"""
    tokens, names, at = b'', b'', {}
    for key in first:
        at[key] = len(names)
        names += key.encode() + b'\0'

    def node(name, properties):
        nonlocal names
        out = struct.pack('>I', 1) + name.encode().ljust(
            len(name) // 4 * 4 + 4, b'\0')
        for key, value in properties.items():
            if key not in at:
                at[key] = len(names)
                names += key.encode() + b'\0'
            out += struct.pack('>III', 3, len(value), at[key]) + value + \
                bytes(-len(value) % 4)
        return out

    tokens = node('', nodes.get('', {}))
    for name, properties in nodes.items():
        if name:
            tokens += node(name, properties) + struct.pack('>I', 2)
    tokens += struct.pack('>II', 2, 9)
    total = FDT.size + 16 + len(tokens) + len(names)
    return FDT.pack(0xd00dfeed, total, 56, 56 + len(tokens), 40, 17, 16, 0,
                    len(names), len(tokens)) + bytes(16) + tokens + names


class Root:
    """The files of a kernel that runs, below a folder of its own."""

    def __init__(self, image=None, config_=None, cmdline='kho=on liveupdate=on',
                 tree=False, luo=b'luo-v5\0\0', where='boot/vmlinuz-'):
        self.path = tempfile.mkdtemp(prefix='root-', dir=DIR)
        self.put('proc/sys/kernel/osrelease', f'{RELEASE}\n'.encode())
        if cmdline is not None:
            self.put('proc/cmdline', f'quiet {cmdline} ro\n'.encode())
        if image is not None:
            name = where if where.endswith('vmlinuz') else where + RELEASE
            self.put(name, image)
        if config_ is not None:
            self.put('proc/config.gz', gzip.compress(config_.encode()))
        if tree:
            self.tree(luo)

    def put(self, name, data):
        file(os.path.relpath(f'{self.path}/{name}', DIR), data)

    def tree(self, luo=b'luo-v5\0\0', root=b'kho-v4\0', **more):
        blob = {'preserved-data': bytes(8), 'blob-size': bytes(8)}
        debugfs = 'sys/kernel/debug/kho/out'
        nodes = {'': {'compatible': root}, 'kexec-metadata': blob,
                 'memblock': blob, **more}
        if luo:
            nodes['LUO'] = blob
            self.put(f'{debugfs}/sub_fdts/LUO', luo.ljust(32, b'\0'))
        self.put(f'{debugfs}/fdt', fdt(nodes).ljust(4096, b'\0'))
        self.put(f'{debugfs}/scratch_len', b'0x10000000\n')
        self.put(f'{debugfs}/sub_fdts/kexec-metadata',
                 struct.pack('<I', 1) + bytes(69))
        self.put(f'{debugfs}/sub_fdts/memblock', fdt({
            '': {'compatible': b'memblock-v1\0'},
            'trace': {'compatible': b'reserve-mem-v1\0'}}))

    def manifest(self, code=0):
        done = kho('manifest', '--json', 'running', code=code,
                   env={'KHO_ROOT': self.path})
        return json.loads(done.stdout)

    def refused(self, *words):
        error = kho('manifest', 'running', code=2,
                    env={'KHO_ROOT': self.path}).stderr
        for word in words:
            assert word in error, error


WITHOUT_LUO = {k: v for k, v in COMPONENTS.items() if k not in ('luo', 'memfd')}
CONFIG = 'CONFIG_KEXEC_HANDOVER=y\nCONFIG_LIVEUPDATE=y\n'


def running():
    """the running kernel, by its image and its state tree"""
    for where in ('boot/vmlinuz-', f'usr/lib/modules/{RELEASE}/vmlinuz',
                  f'lib/modules/{RELEASE}/vmlinuz', 'boot/vmlinux-'):
        root = Root(images.bzimage(), where=where)
        document = root.manifest()
        assert versions(document) == COMPONENTS
        assert document['target'] == 'running'
        assert document['sources'][0].startswith(f'{root.path}/{where}')
    root = Root(images.bzimage(), tree=True)
    document = root.manifest()
    assert versions(document) == COMPONENTS
    source = {c['name']: c['source'] for c in document['components']}
    tree = f'{root.path}/sys/kernel/debug/kho/out/fdt'
    assert source['kho'] == source['luo'] == source['reserve-mem'] == tree
    assert source['memfd'].endswith(': version strings')
    # It says itself what it is, as kho-v4 and later.
    root.tree(root=b'kho-v4;radix-v1;vmalloc-v1\0kho-v4\0')
    assert versions(root.manifest()) == COMPONENTS
    env = {'KHO_ROOT': root.path, 'KHO_RUNTIME_DIR': f'{root.path}/run'}
    same = file('same', images.arm64())
    new = file('new', images.arm64((BANNER + VERSIONS + MEMFD).replace(
        b'luo-v5', b'luo-v6')))
    reuse = '--reuse-cmdline', 'running'
    kho('check', *reuse, same, code=0, env=env)
    done = kho('check', *reuse, new, code=1, env=env)
    assert 'luo: running writes luo v5, new reads only v6' in done.stdout, done


def running_off():
    """what is not built in, or not switched on, is not handed over"""
    kernel = images.bzimage()
    assert missing(Root(config_='CONFIG_SMP=y\n').manifest(1)) == MISSING
    assert missing(Root(config_='# CONFIG_KEXEC_HANDOVER is not set\n'
                        ).manifest(1)) == MISSING
    plain = images.bzimage(images.vmlinux(BANNER, b''))
    assert missing(Root(plain).manifest(1)) == MISSING
    for cmdline in ('kho=off', 'kho=0', 'kho=on kho=n', ''):
        for image in kernel, None:
            why = missing(Root(image, CONFIG, cmdline).manifest(1))
            assert why == 'has KHO switched off: boot it with kho=on', why
    default = CONFIG + 'CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n'
    assert versions(Root(kernel, default, '').manifest()) == WITHOUT_LUO
    assert versions(Root(kernel, default, 'liveupdate=1').manifest()) == \
        COMPONENTS
    for cmdline in 'kho=on', 'kho=on liveupdate=off', 'kho=Y xliveupdate=on':
        assert versions(Root(kernel, None, cmdline).manifest()) == WITHOUT_LUO
    # Its image says it, too.
    for built_in, on in ('y', True), ('n', False):
        image = images.bzimage(images.vmlinux(
            BANNER + VERSIONS + images.config(
                KEXEC_HANDOVER='y', KEXEC_HANDOVER_ENABLE_DEFAULT=built_in,
                LIVEUPDATE='y', LIVEUPDATE_MEMFD='y')))
        found = Root(image, None, '').manifest(0 if on else 1)
        assert (versions(found) == WITHOUT_LUO) == on, found
    # As Linux reads it, which is not word by word.
    for cmdline in ('kho=on -- kho=off', 'kho=on x="a kho=off"',
                    '"kho=on" kho=maybe'):
        assert versions(Root(kernel, CONFIG, cmdline).manifest()) == WITHOUT_LUO
    for cmdline in '-- kho=on', 'x="a kho=on"':
        assert missing(Root(kernel, CONFIG, cmdline).manifest(1))
    # The tree knows better than the command line.
    root = Root(kernel, None, 'kho=on liveupdate=on', tree=True, luo=None)
    assert versions(root.manifest()) == WITHOUT_LUO
    root = Root(kernel, CONFIG, '', tree=True)
    assert versions(root.manifest()) == COMPONENTS


def running_tree():
    """without its image: as far as the state tree says it"""
    no_memfd = CONFIG + '# CONFIG_LIVEUPDATE_MEMFD is not set\n'
    root = Root(config_=no_memfd, tree=True)
    assert versions(root.manifest()) == \
        {k: v for k, v in COMPONENTS.items() if k != 'memfd'}
    assert versions(Root(tree=True, luo=None).manifest()) == WITHOUT_LUO
    root = Root(tree=True, luo=fdt({'': {'compatible': b'luo-v1\0'}, 's': {
        'compatible': b'luo-session-v2\0'}}), config_=no_memfd)
    assert versions(root.manifest())['luo-session'] == 2
    Root(tree=True).refused('memfd', f'/boot/vmlinuz-{RELEASE}')
    Root(tree=True, config_=CONFIG + 'CONFIG_LIVEUPDATE_MEMFD=y\n').refused(
        'memfd')
    Root(tree=True, config_=CONFIG).refused('memfd')


def running_cut():
    """a root FDT of which debugfs shows only as much as there was at boot"""
    root = Root(images.bzimage(), tree=True)
    path = f'{root.path}/sys/kernel/debug/kho/out/fdt'
    blob = {'preserved-data': bytes(8), 'blob-size': bytes(8)}
    whole = fdt({'': {'compatible': b'kho-v4\0', 'preserved-memory-map': bytes(8)},
                 'kexec-metadata': blob, 'LUO': blob},
                ('preserved-memory-map', 'compatible'))
    strings_ = whole.index(b'preserved-memory-map\0compatible\0')
    for size in range(0, len(whole) + 1, 3):
        root.put('sys/kernel/debug/kho/out/fdt', whole[:size])
        if size < 40:
            root.refused('/fdt:')
            continue
        document = root.manifest()
        assert versions(document) == COMPONENTS, document
        # As long as all nodes are there, it counts.
        assert (path in document['sources']) == (size >= strings_), size


def running_unknown():
    """when it cannot be told"""
    Root().refused(f'/boot/vmlinuz-{RELEASE}', 'debug/kho/out/fdt')
    Root(config_=CONFIG).refused(f'/boot/vmlinuz-{RELEASE}')
    # Perhaps it hands nothing over.
    for line in 'quiet', None:
        Root(images.bzimage(), cmdline=line).refused('whether its KHO is on')
    Root(images.bzimage(images.vmlinux(BANNER.replace(b'7.9', b'7.8') +
                                       VERSIONS))).refused(
        f'is Linux 7.8.1-test, but Linux {RELEASE} is running')
    root = Root(images.bzimage())
    root.tree(root=b'kho-v5\0')
    root.refused('kho-v5', 'install the image again')
    root.tree(vfio={'compatible': b'vfio-v1\0'})
    root.refused('vfio-v1')
    root.tree(vfio={'preserved-data': bytes(8)})
    root.refused('vfio')
    # The version of an FDT, which libfdt does not mind.
    root.tree()
    for name in 'fdt', 'sub_fdts/memblock':
        path = f'{root.path}/sys/kernel/debug/kho/out/{name}'
        with open(path, 'r+b') as out:
            out.seek(20)
            out.write(struct.pack('>II', 3, 3))
        root.refused('VERSION')
        root.tree()
    root.tree(**{'..': {}})
    root.refused('..')
    root.tree(luo=b'\xff' * 32)
    root.refused('LUO')
    root.tree(root=b'kho-v4')
    root.refused('terminated')
    root.put('sys/kernel/debug/kho/out/fdt', b'hello')
    root.refused('/fdt:')
    root.put('sys/kernel/debug/kho/out/fdt', b'')
    root.refused('/fdt:')
    root = Root(b'hello')
    root.refused('not a kernel image')
    root = Root(config_='hello')
    root.refused("not a kernel's configuration")
    root = Root()
    root.put('proc/sys/kernel/osrelease', b'../../x\n')
    root.refused('not a release')
    os.unlink(f'{root.path}/proc/sys/kernel/osrelease')
    root.refused('osrelease')


def running_here():
    """the kernel that really runs: a manifest, or why not"""
    done = kho('manifest', 'running')
    assert done.returncode == 2 or \
        f'running: Linux {os.uname().release}' in done.stdout, done


TESTS = [bzimages, vmlinuxes, arm64_images, zboots, ukis, profiles,
         members, little_memory, others, strings,
         not_understood, unknown_versions, unmentioned, initramfs, composites,
         several, promised, guessed, windows, limited, built_in, configurations,
         contradictions, better, verdicts, tables, running, running_off,
         running_tree, running_cut, running_unknown, running_here]


try:
    lacking = images.lacking()
    tap.main(TESTS, sys.argv[2:],
             missing=lacking and f'{", ".join(lacking)}: not installed')
finally:
    shutil.rmtree(DIR, ignore_errors=True)
