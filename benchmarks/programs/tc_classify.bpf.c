/* tc: looks the class of a packet up by protocol and destination port; sets its priority and mark. */
#include "packet_headers.h"

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

struct service {
	__u16 port;
	__u8 protocol;
	__u8 pad;
};

struct traffic_class {
	__u32 priority;
	__u32 mark;
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct service);
	__type(value, struct traffic_class);
} classes SEC(".maps");

SEC("tc")
int tc_classify(struct __sk_buff *skb)
{
	struct ipv4 ip;
	__be16 port;

	if (skb->protocol != KIND_IPV4)
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return TC_ACT_SHOT;
	if ((ip.protocol != TCP && ip.protocol != UDP) || ip.fragment & bpf_htons(0x1fff))
		return TC_ACT_OK;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.words * 4 + 2, &port, sizeof(port)))
		return TC_ACT_SHOT;

	struct service key = { .port = bpf_ntohs(port), .protocol = ip.protocol };
	struct traffic_class *found = bpf_map_lookup_elem(&classes, &key);

	if (found) {
		skb->priority = found->priority;
		skb->mark = found->mark;
		__sync_fetch_and_add(&found->packets, 1);
	}
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
