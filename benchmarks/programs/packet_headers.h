/* The headers that the programs read, with natural alignment, so that no field is read byte by byte
 * (<linux/if_ether.h> declares its header packed, which costs three instructions at each use). */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define ETH_HLEN 14
#define KIND_IPV4 bpf_htons(0x0800)
#define KIND_IPV6 bpf_htons(0x86dd)
#define KIND_VLAN bpf_htons(0x8100)
#define KIND_QINQ bpf_htons(0x88a8)
#define ICMP 1
#define TCP 6
#define UDP 17

struct ethernet {
	__u8 target[6];
	__u8 source[6];
	__be16 kind;
};

struct vlan {
	__be16 tag;
	__be16 kind;
};

struct ipv4 {
	__u8 words : 4, version : 4;
	__u8 service;
	__be16 total;
	__be16 number;
	__be16 fragment;
	__u8 lifetime;
	__u8 protocol;
	__be16 check;
	__be32 source;
	__be32 target;
};

struct ipv6 {
	__be32 version_flow;
	__be16 payload;
	__u8 following;
	__u8 lifetime;
	__u8 source[16];
	__u8 target[16];
};

struct tcp {
	__be16 source;
	__be16 target;
	__be32 sequence;
	__be32 acknowledged;
	__u8 reserved : 4, words : 4;
	__u8 fin : 1, syn : 1, rst : 1, psh : 1, ack : 1, urg : 1, ece : 1, cwr : 1;
	__be16 window;
	__be16 check;
	__be16 urgent;
};

struct udp {
	__be16 source;
	__be16 target;
	__be16 length;
	__be16 check;
};

#define BEGIN(ctx) ((void *)(long)(ctx)->data)
#define END(ctx) ((void *)(long)(ctx)->data_end)
