# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
"""Kernel images in miniature, laid out and packed as Linux's Makefiles do."""
import gzip
import shutil
import struct
import subprocess

RELEASE = '7.9.1-test'
BANNER = f'Linux version {RELEASE} (somebody@somewhere) (gcc) #1 SMP\n\0'.encode()
# With the NUL of the string before it.
VERSIONS = b'\0kho-v4\0compatible\0kexec-metadata\0LUO\0luo-v5\0' \
           b'memblock-v1\0reserve-mem-v1\0'
# As in a struct, behind a pointer.
MEMFD = b'\x40\x07\x83\x81\xff\xff\xff\xff' + b'memfd-v2'.ljust(48, b'\0')
# What a kernel with all of it understands: what is written, and read.
COMPONENTS = {'block': 1, 'kexec-metadata': 1, 'kho': 4, 'luo': 5,
              'memblock': 1, 'memfd': 2, 'radix': 1, 'reserve-mem': 1,
              'vmalloc': 1}

# scripts/Makefile.lib
PACKERS = {
    'gzip': ['gzip', '-n', '-f', '-9'],
    'bzip2': ['bzip2', '-9'],
    'lzma': ['xz', '--format=lzma', '-9'],
    'xz': ['xz', '--check=crc32', '--x86', '--lzma2=preset=9,dict=128MiB'],
    'lz4': ['lz4', '-l', '-9', '-', '-'],
    'zstd': ['zstd', '-22', '--ultra', '-T1'],
}


def lacking():
    """Packers that are not installed."""
    return sorted({c[0] for c in PACKERS.values() if not shutil.which(c[0])})


def pack(how, data, size=None):
    """With the unpacked size at the end, if it is not None."""
    packed = subprocess.run(PACKERS[how], input=data, capture_output=True,
                            check=True).stdout
    if size is not None and how != 'gzip':
        packed += struct.pack('<I', size)
    return packed


def config(**options):
    """KEXEC_HANDOVER='y', LIVEUPDATE='n': what is built in between two marks."""
    lines = ['#', '# Automatically generated file; DO NOT EDIT.', '#']
    for name, value in options.items():
        lines.append(f'CONFIG_{name}={value}' if value != 'n' else
                     f'# CONFIG_{name} is not set')
    text = '\n'.join(lines) + '\n'
    return b'IKCFG_ST' + gzip.compress(text.encode(), mtime=0) + b'IKCFG_ED'


def note(name, write, read=None, deps=()):
    """A component, see include/kho/abi/compat.h"""
    desc = struct.pack('<24s4I', name.encode(), *write, *(read or write))
    desc += b''.join(d.encode().ljust(24, b'\0') for d in deps).ljust(192, b'\0')
    desc += bytes(4)
    return struct.pack('<III4s', 4, len(desc), 1, b'KHO') + desc


def listed(*composites):
    """.liveupdate_versions"""
    return struct.pack('<II', 0x4c565550, 1) + \
        b''.join(c.encode().ljust(48, b'\0') for c in composites)


def vmlinux(rodata=None, data=MEMFD, init_data=b'', notes=b'', versions=b'',
            machine=62, kind=2, base=0xffffffff81000000):
    """An ELF file with two segments and, like every kernel, section headers."""
    if rodata is None:
        rodata = BANNER + VERSIONS
    first = [('.rodata', rodata, 1, 2), ('.notes', notes, 7, 2),
             ('.liveupdate_versions', versions, 1, 2)]
    second = [('.data', data, 1, 3), ('.init.data', init_data, 1, 3)]
    names = b'\0'
    sections = [bytes(64)]
    segments = []
    body = b''
    at = 64 + 3 * 56
    for group, flags in (first, 4), (second, 6):
        begin = at
        for name, content, section_type, section_flags in group:
            if not content:
                continue
            # Notes end where they end.
            size = len(content) + (0 if section_type == 7 else
                                   -len(content) % 8)
            content += bytes(-len(content) % 8)
            if section_type == 7:
                segments.append((4, 4, at, base + at, base + at, size, size, 4))
            sections.append(struct.pack(
                '<IIQQQQIIQQ', len(names), section_type, section_flags,
                base + at, at, size, 0, 0, 8, 0))
            names += name.encode() + b'\0'
            body += content
            at += len(content)
        segments.append((1, flags, begin, base + begin, base + begin,
                         at - begin, at - begin, 8))
    sections.append(struct.pack('<IIQQQQIIQQ', len(names), 3, 0, 0, at,
                                len(names) + 10, 0, 0, 1, 0))
    names += b'.shstrtab\0'
    body += names + bytes(-len(names) % 8)
    at += len(names) + -len(names) % 8
    segments = segments[:3] + [(0,) + (0,) * 7] * (3 - len(segments))
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', kind, machine,
                         1, 0, 64, at, 0, 64, 56, 3, 64, len(sections),
                         len(sections) - 1)
    return header + b''.join(struct.pack('<IIQQQQQQ', *s) for s in segments) + \
        body + b''.join(sections)


def bzimage(kernel=None, how='gzip', version=0x20f, memory=0,
            half=None):
    """x86; behind the vmlinux come relocations, as in a real one. @half: where
    to pack it in two."""
    kernel = (vmlinux() if kernel is None else kernel) + bytes(16)
    payload = pack(how, kernel, len(kernel)) if half is None else \
        pack(how, kernel[:half]) + pack(how, kernel[half:], len(kernel))
    code = bytes(64) + payload
    code += bytes(-len(code) % 16) + bytes(32)
    setup = bytearray(1024)
    setup[0:2] = b'MZ'
    setup[0x1f1] = 1
    struct.pack_into('<I', setup, 0x1f4, len(code) // 16)
    struct.pack_into('<H', setup, 0x1fe, 0xaa55)
    setup[0x202:0x206] = b'HdrS'
    struct.pack_into('<H', setup, 0x206, version)
    struct.pack_into('<I', setup, 0x238, 2047)
    struct.pack_into('<II', setup, 0x248, 64, len(payload))
    struct.pack_into('<I', setup, 0x260, memory)
    return bytes(setup) + code


def pe_header(sections, at):
    """[(name, memory size, file size, offset)]; lies at offset @at."""
    header = struct.pack('<4sHHIIIHH', b'PE', 0xaa64, len(sections), 0, 0, 0,
                         160, 0x206) + bytes(160)
    for name, memory, size, offset in sections:
        header += struct.pack('<8sIIIIIIHHI', name.encode(), memory, offset,
                              size, offset, 0, 0, 0, 0, 0x60000020)
    assert at + len(header) <= 512
    return header


def arm64(content=None, efi=True, flags=0xa):
    """The sections of the PE header cover all but the header."""
    if content is None:
        content = BANNER + VERSIONS + MEMFD
    content += bytes(-len(content) % 32)
    half = len(content) // 2
    header = struct.pack('<IIQQQQQQ4sI', 0xfa405a4d if efi else 0xd503201f,
                         0x14000000, 0, 512 + len(content) + 4096, flags, 0, 0,
                         0, b'ARM\x64', 0x40 if efi else 0)
    if efi:
        header += pe_header([('.text', half, half, 512),
                             ('.data', half + 4096, half, 512 + half)], 64)
    return header.ljust(512, b'\0') + content


def zboot(image=None, how='gzip', name=None):
    """drivers/firmware/efi/libstub/zboot-header.S"""
    image = arm64() if image is None else image
    # Makefile.zboot: padded to what it has in memory.
    image = image.ljust(struct.unpack_from('<Q', image, 16)[0], b'\0')
    payload = pack(how, image, len(image))
    size = len(payload) - (0 if how == 'gzip' else 4)
    header = struct.pack('<4s4sIIII32s4sI', b'MZ', b'zimg', 512, size, 0, 0,
                         (name or how).encode(), b'\xcd\x23\x82\x81', 0x40)
    content = payload + bytes(-len(payload) % 512)
    header += pe_header([('.text', len(content), len(content), 512),
                         ('.data', 512, 512, 512 + len(content))], 64)
    return header.ljust(512, b'\0') + content + bytes(512)


def uki(kernel=None, cmdline='console=ttyS0 kho=on\n', extra=(), align=512,
        first=()):
    """The sections that ukify(1) makes; more: @extra behind, @first before."""
    kernel = bzimage() if kernel is None else kernel
    parts = [('.text', b'\xc3' * 16), *first, ('.osrel', b'ID=test\n'),
             ('.cmdline', cmdline and cmdline.encode()),
             ('.uname', RELEASE.encode()), ('.linux', kernel), *extra]
    parts = [(name, part) for name, part in parts if part is not None]
    sections = []
    content = b''
    begin = 512 + len(parts) * 40 + -(len(parts) * 40) % 512
    for name, part in parts:
        size = len(part) + -len(part) % align
        sections.append((name, len(part), size, begin + len(content)))
        content += part.ljust(size, b'\0')
    header = b'MZ'.ljust(0x3c, b'\0') + struct.pack('<I', 0x40)
    header += struct.pack('<4sHHIIIHH', b'PE', 0x8664, len(sections), 0, 0, 0,
                          160, 0x206) + bytes(160)
    for name, memory, size, offset in sections:
        header += struct.pack('<8sIIIIIIHHI', name.encode(), memory, offset,
                              size, offset, 0, 0, 0, 0, 0x60000020)
    return header.ljust(begin, b'\0') + content
