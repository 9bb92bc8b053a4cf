#include "prelude.h"

#ifndef OPERATIONS
#define OPERATIONS ".struct_ops.link"
#endif

struct tcp_congestion_ops {
	u32 key;
	u32 flags;
	int (*ssthresh)(void *sk);
	void (*cong_avoid)(void *sk, u32 ack, u32 acked);
	u32 (*undo_cwnd)(void *sk);
	char name[16];
};

SEC("struct_ops/ssthresh") int my_ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops") int my_avoid(u64 *ctx)
{
	return 0;
}

SEC("struct_ops") int my_undo(u64 *ctx)
{
	return 2;
}

struct tcp_congestion_ops mine __attribute__((section(OPERATIONS), used)) = {
	.flags = 1,
	.ssthresh = (void *)my_ssthresh,
	.cong_avoid = (void *)my_avoid,
	.undo_cwnd = (void *)my_undo,
	.name = "mine",
};
