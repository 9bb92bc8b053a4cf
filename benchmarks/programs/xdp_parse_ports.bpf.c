/* XDP: parses up to two VLAN tags, IPv4 or IPv6, TCP or UDP; counts packets and bytes by destination port. */
#include "packet_headers.h"

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u16);
	__type(value, struct counter);
} port_count SEC(".maps");

SEC("xdp")
int xdp_parse_ports(struct xdp_md *ctx)
{
	void *end = END(ctx), *at = BEGIN(ctx);
	__u64 length = end - at;
	struct ethernet *eth = at;
	__be16 kind;
	__u8 protocol;
	__u16 port;

	at = eth + 1;
	if (at > end)
		return XDP_DROP;
	kind = eth->kind;

	for (int tags = 0; tags < 2; tags++) {
		struct vlan *vlan = at;

		if (kind != KIND_VLAN && kind != KIND_QINQ)
			break;
		at = vlan + 1;
		if (at > end)
			return XDP_DROP;
		kind = vlan->kind;
	}

	if (kind == KIND_IPV4) {
		struct ipv4 *ip = at;

		if ((void *)(ip + 1) > end || ip->words < 5)
			return XDP_DROP;
		protocol = ip->protocol;
		at += ip->words * 4;
	} else if (kind == KIND_IPV6) {
		struct ipv6 *ip = at;

		at = ip + 1;
		if (at > end)
			return XDP_DROP;
		protocol = ip->following;
	} else {
		return XDP_PASS;
	}

	if (protocol == TCP) {
		struct tcp *tcp = at;

		if ((void *)(tcp + 1) > end)
			return XDP_DROP;
		port = bpf_ntohs(tcp->target);
	} else if (protocol == UDP) {
		struct udp *udp = at;

		if ((void *)(udp + 1) > end)
			return XDP_DROP;
		port = bpf_ntohs(udp->target);
	} else {
		return XDP_PASS;
	}

	struct counter *found = bpf_map_lookup_elem(&port_count, &port);

	if (found) {
		__sync_fetch_and_add(&found->packets, 1);
		__sync_fetch_and_add(&found->bytes, length);
	} else {
		struct counter first = { .packets = 1, .bytes = length };

		bpf_map_update_elem(&port_count, &port, &first, BPF_NOEXIST);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
