// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The bounds of a view of memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <kho/mem.h>

static const char data[16] = "0123456789abcdef";

static void reads_inside(void **state)
{
	struct kho_mem_array array = kho_mem_array(data, 16, 0x1000, 12);
	char buf[16];

	(void)state;
	assert_int_equal(kho_mem_read(&array.mem, 0x1000, buf, 16), 0);
	assert_memory_equal(buf, data, 16);
	assert_int_equal(kho_mem_read(&array.mem, 0x100f, buf, 1), 0);
	assert_int_equal(buf[0], 'f');
	assert_int_equal(kho_mem_read(&array.mem, 0x1010, buf, 0), 0);
}

static void refuses_outside(void **state)
{
	struct kho_mem_array array = kho_mem_array(data, 16, 0x1000, 12);
	char buf[32];

	(void)state;
	assert_int_equal(kho_mem_read(&array.mem, 0xfff, buf, 1), -EFAULT);
	assert_int_equal(kho_mem_read(&array.mem, 0x1000, buf, 17), -EFAULT);
	assert_int_equal(kho_mem_read(&array.mem, 0x1010, buf, 1), -EFAULT);
	assert_int_equal(kho_mem_read(&array.mem, 0x1011, buf, 0), -EFAULT);
	assert_int_equal(kho_mem_read(&array.mem, UINT64_MAX, buf, 2), -EFAULT);
	assert_int_equal(kho_mem_read(&array.mem, 0x1001, buf, SIZE_MAX),
			 -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_inside),
		cmocka_unit_test(refuses_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
