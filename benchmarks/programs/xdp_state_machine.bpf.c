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

	__u32 state = found->state;

	if (tcp->rst) {
		state = CLOSED;
	} else if (state == SYN) {
		if (!tcp->syn && !tcp->ack)
			goto invalid;
		if (tcp->ack)
			state = tcp->syn ? SYN_ACK : ESTABLISHED;
	} else if (state == SYN_ACK) {
		if (!tcp->ack || tcp->syn)
			goto invalid;
		state = ESTABLISHED;
	} else if (state == ESTABLISHED) {
		if (tcp->fin)
			state = FIN_1;
		else if (tcp->syn)
			goto invalid;
	} else if (state == FIN_1) {
		if (tcp->fin && tcp->ack)
			state = FIN_2;
	} else if (state == FIN_2) {
		if (tcp->ack)
			state = CLOSED;
	} else if (state == CLOSED) {
		if (!tcp->syn || tcp->ack)
			goto invalid;
		state = SYN;
	}
	found->state = state;
	found->packets += 1;
	return XDP_PASS;

invalid:
	found->invalid += 1;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
