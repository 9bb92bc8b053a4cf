#include "prelude.h"

static noinline u64 third(u64 x)
{
	asm volatile("" : "+r"(x));
	return x * 3;
}

static noinline u64 half(u64 x)
{
	asm volatile("" : "+r"(x));
	return third(x) / 2;
}

noinline int open_to_all(u32 x)
{
	return x + 7;
}

hidden noinline int hidden_one(u32 x)
{
	return x + 8;
}

static long body(u32 i, void *ctx)
{
	*(u64 *)ctx += i;
	return 0;
}

SEC("socket") int calls(void *ctx)
{
	u64 sum = 0;

	loop(5, body, &sum, 0);
	return half(sum) + open_to_all(sum) + hidden_one(sum);
}
