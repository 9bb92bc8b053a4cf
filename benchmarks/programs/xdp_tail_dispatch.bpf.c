/* XDP: hands IPv4 packets to a program for their protocol by tail calls, and counts by program. */
#include "packet_headers.h"

enum { AT_OTHER, AT_ICMP, AT_TCP, AT_UDP };

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} handlers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 slot)
{
	__u64 *found = bpf_map_lookup_elem(&counts, &slot);

	if (found)
		*found += 1;
}

static __always_inline void *transport(struct xdp_md *ctx)
{
	return BEGIN(ctx) + sizeof(struct ethernet) + sizeof(struct ipv4);
}

SEC("xdp")
int xdp_dispatch(struct xdp_md *ctx)
{
	struct ethernet *eth = BEGIN(ctx);
	struct ipv4 *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > END(ctx) || eth->kind != KIND_IPV4)
		return XDP_PASS;
	bpf_tail_call(ctx, &handlers, ip->protocol);
	count(AT_OTHER);
	return XDP_PASS;
}

SEC("xdp")
int handle_icmp(struct xdp_md *ctx)
{
	count(AT_ICMP);
	return XDP_DROP;
}

SEC("xdp")
int handle_tcp(struct xdp_md *ctx)
{
	struct tcp *tcp = transport(ctx);

	if ((void *)(tcp + 1) > END(ctx))
		return XDP_DROP;
	count(AT_TCP);
	return tcp->target == bpf_htons(22) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int handle_udp(struct xdp_md *ctx)
{
	struct udp *udp = transport(ctx);

	if ((void *)(udp + 1) > END(ctx))
		return XDP_DROP;
	count(AT_UDP);
	return udp->target == bpf_htons(53) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
