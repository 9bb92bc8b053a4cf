#include "prelude.h"

struct inode___none {
	long i_no_such_field;
} relocatable;

SEC("raw_tp/sched_switch") int missing(u64 *ctx)
{
	struct inode___none *inode = (void *)ctx[1];
	long value = 0;

	probe_read_kernel(&value, sizeof(value), &inode->i_no_such_field);
	return value & 1;
}
