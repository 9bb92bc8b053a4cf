/* XDP: follows the state of TCP connections and drops what does not fit it. */
#include "packet_headers.h"

enum state { SYN = 1, SYN_ACK, ESTABLISHED, FIN_1, FIN_2, CLOSED };

struct flow {
	__be32 source;
	__be32 target;
	__be16 source_port;
	__be16 target_port;
};

struct connection {
	__u32 state;
	__u32 invalid;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct connection);
} conns SEC(".maps");

/* The state after a packet, or 0 for one that does not fit. */
static __always_inline __u32 following(__u32 state, const struct tcp *tcp)
{
	if (tcp->rst)
		return CLOSED;
	switch (state) {
	case SYN:
		if (tcp->syn)
			return tcp->ack ? SYN_ACK : SYN;
		return tcp->ack ? ESTABLISHED : 0;
	case SYN_ACK:
		return tcp->ack && !tcp->syn ? ESTABLISHED : 0;
	case ESTABLISHED:
		if (tcp->fin)
			return FIN_1;
		return tcp->syn ? 0 : ESTABLISHED;
	case FIN_1:
		return tcp->fin && tcp->ack ? FIN_2 : FIN_1;
	case FIN_2:
		return tcp->ack ? CLOSED : FIN_2;
	case CLOSED:
		return tcp->syn && !tcp->ack ? SYN : 0;
	}
	return state;
}

SEC("xdp")
int xdp_state_machine(struct xdp_md *ctx)
{
	struct ethernet *eth = BEGIN(ctx);
	struct ipv4 *ip = (void *)(eth + 1);
	struct tcp *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > END(ctx))
		return XDP_PASS;
	if (eth->kind != KIND_IPV4 || ip->words != 5 || ip->protocol != TCP)
		return XDP_PASS;

	struct flow flow = { ip->source, ip->target, tcp->source, tcp->target };
	struct connection *found = bpf_map_lookup_elem(&conns, &flow);

	if (!found) {
		struct connection first = { .state = SYN, .packets = 1 };

		if (!tcp->syn || tcp->ack)
			return XDP_DROP;
		bpf_map_update_elem(&conns, &flow, &first, BPF_ANY);
		return XDP_PASS;
	}

	__u32 next = following(found->state, tcp);

	if (!next) {
		found->invalid += 1;
		return XDP_DROP;
	}
	found->state = next;
	found->packets += 1;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
