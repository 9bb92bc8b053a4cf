#include "prelude.h"

int one(void *ctx);
int two(void *ctx);

struct {
	__uint(type, 3);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} chain SEC(".maps") = { .values = { [0] = (void *)&one, [2] = (void *)&two } };

struct inner {
	__uint(type, 2);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
};

struct inner a SEC(".maps");
struct inner b SEC(".maps");

struct {
	__uint(type, 12);
	__uint(max_entries, 3);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &b, [1] = &a } };

SEC("socket") int one(void *ctx)
{
	tail_call(ctx, &chain, 2);
	return 1;
}

SEC("socket") int two(void *ctx)
{
	u32 k = 0;

	return lookup(&outer, &k) != 0;
}
