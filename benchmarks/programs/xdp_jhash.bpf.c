/* XDP: Jenkins' hash of the 5-tuple chooses the slot of a ring of backends. */
#include "packet_headers.h"

#define RING_SIZE 1024
#define INITIAL 0xdeadbeef

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RING_SIZE);
	__type(key, __u32);
	__type(value, __u32);
} ring SEC(".maps");

static __always_inline __u32 rotate(__u32 word, int count)
{
	return word << count | word >> (32 - count);
}

static __always_inline __u32 hash_words(__u32 one, __u32 two, __u32 three, __u32 four, __u32 seed)
{
	__u32 start = INITIAL + 16 + seed;
	__u32 a = start + one, b = start + two, c = start + three;

	a = (a - c) ^ rotate(c, 4), c += b;
	b = (b - a) ^ rotate(a, 6), a += c;
	c = (c - b) ^ rotate(b, 8), b += a;
	a = (a - c) ^ rotate(c, 16), c += b;
	b = (b - a) ^ rotate(a, 19), a += c;
	c = (c - b) ^ rotate(b, 4), b += a;
	a += four;
	c = (c ^ b) - rotate(b, 14);
	a = (a ^ c) - rotate(c, 11);
	b = (b ^ a) - rotate(a, 25);
	c = (c ^ b) - rotate(b, 16);
	a = (a ^ c) - rotate(c, 4);
	b = (b ^ a) - rotate(a, 14);
	return (c ^ b) - rotate(b, 24);
}

SEC("xdp")
int xdp_jhash(struct xdp_md *ctx)
{
	struct ethernet *eth = BEGIN(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	__u32 *ports = (void *)(ip + 1);

	if ((void *)(ports + 1) > END(ctx))
		return XDP_PASS;
	if (eth->kind != KIND_IPV4 || ip->words != 5)
		return XDP_PASS;

	__u32 slot = hash_words(ip->source, ip->target, *ports, ip->protocol, ctx->rx_queue_index) % RING_SIZE;
	__u32 *backend = bpf_map_lookup_elem(&ring, &slot);

	return backend && *backend ? XDP_TX : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
