/* The checks that the verifier asks for, as a C program has them: beside idioms.py, by name. */
#include "../programs/packet_headers.h"

#define XDP(name) SEC("xdp") int name(struct xdp_md *ctx)
#define TC(name) SEC("tc") int name(struct __sk_buff *skb)

struct pair {
	__u64 packets, bytes;
};

struct slots {
	__u64 count[48];
};

struct key {
	__u16 port;
	__u32 length;
};

struct event {
	__u32 length, kind;
};

#define MAP(name, kind, entries, key_type, value_type)                                                               \
	struct {                                                                                                     \
		__uint(type, kind);                                                                                  \
		__uint(max_entries, entries);                                                                        \
		__type(key, key_type);                                                                               \
		__type(value, value_type);                                                                           \
	} name SEC(".maps")

MAP(counts, BPF_MAP_TYPE_HASH, 64, __u32, __u64);
MAP(pairs, BPF_MAP_TYPE_HASH, 64, __u32, struct pair);
MAP(tables, BPF_MAP_TYPE_HASH, 64, __u32, struct slots);
MAP(keyed, BPF_MAP_TYPE_HASH, 64, struct key, __u64);
MAP(array, BPF_MAP_TYPE_ARRAY, 16, __u32, __u64);
MAP(others, BPF_MAP_TYPE_PROG_ARRAY, 4, __u32, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 12);
} events SEC(".maps");

const volatile __u32 limit = 60;
__u64 seen;

XDP(lookup_tested)
{
	__u32 key = ctx->rx_queue_index;

	return bpf_map_lookup_elem(&counts, &key) ? XDP_DROP : XDP_PASS;
}

XDP(missing_key)
{
	__u32 key = ctx->rx_queue_index;
	__u64 *found = bpf_map_lookup_elem(&counts, &key);

	if (!found)
		return XDP_ABORTED;
	__sync_fetch_and_add(found, 1);
	return XDP_PASS;
}

XDP(field_of_optional)
{
	__u32 key = ctx->rx_queue_index;
	struct pair *found = bpf_map_lookup_elem(&pairs, &key);

	if (!found)
		return XDP_PASS;
	__sync_fetch_and_add(&found->packets, 1);
	__sync_fetch_and_add(&found->bytes, ctx->data_end - ctx->data);
	return XDP_DROP;
}

XDP(record_tested)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_DROP;
	event->length = ctx->data_end - ctx->data;
	event->kind = 1;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

XDP(record_released)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_DROP;
	if (data + 14 > end) {
		bpf_ringbuf_discard(event, 0);
		return XDP_ABORTED;
	}
	event->length = *(__u16 *)(data + 12);
	if (data + 15 > end) {
		bpf_ringbuf_discard(event, 0);
		return XDP_ABORTED;
	}
	event->kind = *(__u8 *)(data + 14);
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

TC(reloaded)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 before;

	if (data + 24 > end)
		return 2;
	before = *(__u8 *)(data + 23);
	bpf_skb_pull_data(skb, 42);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + 24 > end)
		return 2;
	return *(__u8 *)(data + 23) == before ? 0 : 2;
}

XDP(key_zeroed)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct key key;

	if (data + 38 > end)
		return XDP_ABORTED;
	__builtin_memset(&key, 0, sizeof(key));
	key.port = bpf_ntohs(*(__u16 *)(data + 36));
	key.length = 7;
	return bpf_map_lookup_elem(&keyed, &key) ? XDP_DROP : XDP_PASS;
}

XDP(index_checked)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	__u8 index;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	if (data + 1 > end)
		return XDP_ABORTED;
	index = *(__u8 *)data;
	if (index >= 48)
		return XDP_ABORTED;
	__sync_fetch_and_add(&found->count[index], 1);
	return XDP_DROP;
}

XDP(index_tested)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	__u8 index;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	if (data + 1 > end)
		return XDP_ABORTED;
	index = *(__u8 *)data;
	if (index >= 48)
		return XDP_TX;
	__sync_fetch_and_add(&found->count[index], 1);
	return XDP_DROP;
}

XDP(index_masked)
{
	__u32 key = 0;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	__sync_fetch_and_add(&found->count[ctx->rx_queue_index & 31], 1);
	return XDP_DROP;
}

XDP(index_signed)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	__s64 index;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	if (data + 1 > end)
		return XDP_ABORTED;
	index = (__s64)*(__u8 *)data - 10;
	if (index < 0 || index >= 48)
		return XDP_TX;
	__sync_fetch_and_add(&found->count[index], 1);
	return XDP_DROP;
}

XDP(index_constant)
{
	__u32 key = 0;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	__sync_fetch_and_add(&found->count[47], 1);
	return XDP_DROP;
}

XDP(least)
{
	__u32 key = 0, index;
	struct slots *found = bpf_map_lookup_elem(&tables, &key);

	if (!found)
		return XDP_PASS;
	index = ctx->rx_queue_index;
	if (index > 47)
		index = 47;
	__sync_fetch_and_add(&found->count[index], 1);
	return XDP_DROP;
}

XDP(array_element)
{
	__u32 key = ctx->rx_queue_index & 15;
	__u64 *found = bpf_map_lookup_elem(&array, &key);

	if (!found)
		return XDP_ABORTED;
	__sync_fetch_and_add(found, 1);
	return XDP_PASS;
}

XDP(headers_checked)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 14 > end)
		return XDP_ABORTED;
	if (*(__u16 *)(data + 12) != bpf_htons(0x0800))
		return XDP_PASS;
	if (data + 24 > end)
		return XDP_ABORTED;
	if (*(__u8 *)(data + 23) != 17)
		return XDP_PASS;
	if (data + 38 > end)
		return XDP_ABORTED;
	return *(__u16 *)(data + 36) == bpf_htons(53) ? XDP_DROP : XDP_PASS;
}

XDP(variable_offset)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *transport;

	if (data + 15 > end)
		return XDP_ABORTED;
	transport = data + 14 + (*(__u8 *)(data + 14) & 15) * 4;
	if (transport + 4 > end)
		return XDP_ABORTED;
	return *(__u16 *)(transport + 2) == bpf_htons(53) ? XDP_DROP : XDP_PASS;
}

TC(length_clamped)
{
	char data[32] = {};
	__u32 count = skb->len;

	if (count > 32)
		count = 32;
	if (count > 0 && bpf_skb_load_bytes(skb, 0, data, count) == 0)
		return (__u8)data[0];
	return 2;
}

TC(buffer_sized)
{
	__u8 address[8];

	if (bpf_skb_load_bytes(skb, 26, address, sizeof(address)))
		return 2;
	return address[0] == address[4] ? 0 : 2;
}

XDP(divided)
{
	__u32 divisor = ctx->rx_queue_index;
	__u64 length = ctx->data_end - ctx->data;

	if (!divisor)
		return XDP_ABORTED;
	return length / divisor > 3 ? XDP_PASS : XDP_DROP;
}

XDP(loop_bounded)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *at = data + 14;
	__u64 total = 0;

#pragma clang loop unroll(disable)
	for (int i = 0; i < 20; i++, at++) {
		asm volatile("" : "+r"(at)); /* clang would compute with the end of the packet, which is refused */
		if ((void *)(at + 1) > end)
			return XDP_ABORTED;
		total += *at;
	}
	return total > 1000 ? XDP_DROP : XDP_PASS;
}

static long body(__u32 i, void *state)
{
	return i == 5;
}

XDP(callback_result)
{
	return bpf_loop(100, body, NULL, 0) == 6 ? XDP_DROP : XDP_PASS;
}

XDP(shared_counter)
{
	__u32 length = ctx->data_end - ctx->data;

	__sync_fetch_and_add(&seen, length);
	return length > limit ? XDP_DROP : XDP_PASS;
}

__attribute__((noinline)) __u32 judged(struct pair *pair)
{
	if (!pair)
		return 0;
	return pair->packets > pair->bytes;
}

XDP(global_memory)
{
	struct pair pair = { .packets = ctx->data_end - ctx->data, .bytes = ctx->rx_queue_index };

	return judged(&pair) ? XDP_DROP : XDP_PASS;
}

XDP(tail_called)
{
	bpf_tail_call(ctx, &others, ctx->rx_queue_index & 3);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "GPL";
