#include "prelude.h"

struct key {
	u32 a;
	u16 b;
	char name[6];
};

struct {
	__uint(type, 1);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, u64);
	__uint(map_flags, 1);
	__uint(pinning, 1);
} hashed SEC(".maps");

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 16);
} sized SEC(".maps");

u32 exposed = 5;
static volatile u64 private = 6;
u64 counters[4];
const volatile u8 setting = 1;
static volatile const char text[] = "some text";

SEC("xdp") int first(void *ctx)
{
	struct key k = { .a = exposed };
	u64 *value = lookup(&hashed, &k);

	if (value)
		counters[setting & 3] += *value;
	private += counters[2] + text[private & 7];
	return 2;
}

SEC("?tc") int waiting(void *ctx)
{
	u32 k = 1;

	return lookup(&sized, &k) != 0;
}
