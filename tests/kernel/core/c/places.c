#include "prelude.h"

struct seq_file;
struct task_struct {
	int tgid;
} relocatable;
struct bpf_iter_meta {
	u64 session_id;
	struct seq_file *seq;
} relocatable;
struct bpf_iter__task {
	struct task_struct *task;
	struct bpf_iter_meta *meta;
} relocatable;

static long (*seq_write)(struct seq_file *seq, const void *data, u32 size) = (void *)127;

SEC("tp_btf/sched_switch") int switches(u64 *ctx)
{
	struct task_struct *next = (void *)ctx[2];

	return next->tgid & 0;
}

SEC("iter/task") int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	int number;

	if (!task)
		return 0;
	number = task->tgid;
	seq_write(ctx->meta->seq, &number, sizeof(number));
	return 0;
}
