#include "prelude.h"

struct task_struct___flavored {
	char comm[16];
	int tgid;
	int pid;
	struct task_struct___flavored *real_parent;
	struct {
		u64 tv[3];
		unsigned char in_execve : 1;
	};
	struct no_such_thing *gone;
} relocatable;

struct list_head {
	struct list_head *prev, *next;
} relocatable;

struct sk_buff___small {
	u32 mark;
	u16 protocol;
	u8 pkt_type : 3;
	u8 ip_summed : 2;
	u8 cloned : 1;
} relocatable;

struct in6_addr {
	union {
		u8 u6_addr8[16];
		u32 u6_addr32[4];
	} in6_u;
} relocatable;

struct bpf_array___open {
	union {
		char value[0];
	};
} relocatable;

struct ipv6hdr {
	u8 version : 4;
	struct in6_addr daddr;
	struct in6_addr saddr;
} relocatable;

struct nothing_of_the_kind___1 {
	int x;
} relocatable;

enum bpf_map_type___few {
	BPF_MAP_TYPE_RINGBUF___few = 3,
	BPF_MAP_TYPE_NONE_OF_THE_KIND = 4,
};
typedef int pid_t;
typedef int no_such_typedef;

u64 values[64];
static void *nowhere;

#define keep(n, value) values[n] = (value)

SEC("raw_tp/sched_switch") int fields(u64 *ctx)
{
	struct task_struct___flavored *task = nowhere;
	struct sk_buff___small *skb = nowhere;
	struct ipv6hdr *ip = nowhere;
	struct list_head *list = nowhere;

	asm volatile("" : "+r"(task), "+r"(skb), "+r"(ip), "+r"(list));
	keep(0, offset(task->comm));
	keep(1, offset(task->pid));
	keep(2, offset(task->tgid));
	keep(3, offset(task->comm[5]));
	keep(4, info(task->comm, BYTE_SIZE));
	keep(5, info(task->pid, SIGNED));
	keep(6, info(task->comm, EXISTS) << 1 | info(task->gone, EXISTS));
	keep(7, info(skb->mark, SIGNED));
	keep(8, info(skb->ip_summed, BYTE_OFFSET));
	keep(9, info(skb->ip_summed, LSHIFT));
	keep(10, info(skb->ip_summed, RSHIFT));
	keep(11, info(skb->pkt_type, BYTE_SIZE));
	keep(12, offset(ip->saddr.in6_u.u6_addr32[2]));
	keep(13, offset(ip->daddr.in6_u.u6_addr8[3]));
	keep(14, info(ip->version, LSHIFT));
	keep(15, info(task->in_execve, RSHIFT));
	keep(16, offset(list[2].next));
	keep(17, offset(list->next));
	keep(18, offset(task->real_parent));
	keep(19, info(task->real_parent, BYTE_SIZE));
	return 0;
}

SEC("raw_tp/sched_switch") int types(u64 *ctx)
{
	keep(20, size_of_type(struct task_struct___flavored));
	keep(21, exists(struct task_struct___flavored) << 1 | exists(struct nothing_of_the_kind___1));
	keep(22, size_of_type(struct nothing_of_the_kind___1));
	keep(23, target_id(struct task_struct___flavored));
	keep(24, target_id(struct nothing_of_the_kind___1));
	keep(25, exists(pid_t) << 1 | exists(no_such_typedef));
	keep(26, has_value(enum bpf_map_type___few, BPF_MAP_TYPE_RINGBUF___few) << 1 |
			 has_value(enum bpf_map_type___few, BPF_MAP_TYPE_NONE_OF_THE_KIND));
	keep(27, value_of(enum bpf_map_type___few, BPF_MAP_TYPE_RINGBUF___few));
	return 0;
}

// A function of its own: records move with it.
static __attribute__((noinline)) u64 parent_of(void *task)
{
	struct task_struct___flavored *parent = nowhere;

	probe_read_kernel(&parent, sizeof(parent), &((struct task_struct___flavored *)task)->real_parent);
	return (u64)parent;
}

SEC("raw_tp/sched_switch") int reads(u64 *ctx)
{
	struct task_struct___flavored *task = (void *)current_task();
	int pid = 0;

	probe_read_kernel(&pid, sizeof(pid), &task->tgid);
	keep(28, pid);
	probe_read_kernel(&pid, sizeof(pid), &((struct task_struct___flavored *)parent_of(task))->tgid);
	keep(29, pid);
	// Behind a test of its existence the verifier leaves out what cannot be.
	if (info(task->gone, EXISTS))
		keep(30, offset(task->gone));
	return 0;
}

// Direct loads: offsets of instructions, and sizes that follow the kernel's.
struct sk_buff___loads {
	u16 mark;
	u32 len;
	u32 data_len;
} relocatable;

SEC("tp_btf/kfree_skb") int loads(u64 *ctx)
{
	struct sk_buff___loads *skb = (void *)ctx[0];

	keep(31, skb->mark);
	keep(32, skb->len + skb->data_len);
	return 0;
}
