/* forkserver_words.c - the packets of forkserver.h, written and read with msgpack-c. */
#include "forkserver_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void pack_str(msgpack_packer *pk, const char *text, size_t len)
{
	msgpack_pack_str(pk, len);
	msgpack_pack_str_body(pk, text, len);
}

static void pack_text(msgpack_packer *pk, const char *text)
{
	pack_str(pk, text, strlen(text));
}

static void pack_list(msgpack_packer *pk, const char *key, const struct config_list *list)
{
	pack_text(pk, key);
	msgpack_pack_array(pk, list->count);
	for (uint64_t i = 0; i < list->count; i++)
		pack_text(pk, list->item[i]);
}

static void pack_expose(msgpack_packer *pk, const struct config_list *list)
{
	struct config_expose e;

	pack_text(pk, "expose");
	msgpack_pack_array(pk, list->count);
	for (uint64_t i = 0; i < list->count; i++) {
		(void)config_split_expose(list->item[i], &e);
		msgpack_pack_array(pk, 3);
		pack_str(pk, e.name, e.name_len);
		pack_str(pk, e.module, e.module_len);
		pack_str(pk, e.attr, e.attr_len);
	}
}

/* Entries that workers complete with their index. */
static void pack_indexed(msgpack_packer *pk, const struct config_list *env)
{
	size_t count = 0;

	for (uint64_t i = 0; i < env->count; i++)
		count += forkserver_env_indexed(env->item[i]);
	pack_text(pk, "indexed_env");
	msgpack_pack_array(pk, count);
	for (uint64_t i = 0; i < env->count; i++)
		if (forkserver_env_indexed(env->item[i]))
			pack_text(pk, env->item[i]);
}

/* Resource limits, but those that stay as they are. */
static void pack_limits(msgpack_packer *pk, const struct config_pool *c)
{
	const struct {
		const char *name;
		uint64_t value;
	} limits[] = { { "as", c->rlimit_as },
		       { "cpu", c->rlimit_cpu_s },
		       { "nofile", c->rlimit_nofile },
		       { "core", c->rlimit_core } };
	const size_t n = sizeof limits / sizeof limits[0];
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += limits[i].value != CONFIG_INFINITY;
	pack_text(pk, "limits");
	msgpack_pack_map(pk, count);
	for (size_t i = 0; i < n; i++) {
		if (limits[i].value == CONFIG_INFINITY)
			continue;
		pack_text(pk, limits[i].name);
		msgpack_pack_uint64(pk, limits[i].value);
	}
}

void forkserver_pack_setup(msgpack_packer *pk, const struct forkserver_options *o)
{
	const struct config_pool *c = o->config;

	msgpack_pack_array(pk, 2);
	pack_text(pk, "setup");
	msgpack_pack_map(pk, 17);
	pack_text(pk, "node");
	pack_text(pk, o->node);
	pack_text(pk, "node_pid");
	msgpack_pack_int64(pk, getpid());
	pack_text(pk, "pool");
	pack_text(pk, c->name);
	pack_text(pk, "method");
	pack_text(pk, c->start_method == START_SPAWN ? "spawn" : "fork");
	pack_list(pk, "preload", &c->preload);
	pack_expose(pk, &c->expose);
	pack_list(pk, "allow", &c->allow);
	pack_list(pk, "path", &c->pythonpath);
	pack_text(pk, "max_depth");
	msgpack_pack_uint64(pk, c->max_depth);
	pack_text(pk, "max_result_bytes");
	msgpack_pack_uint64(pk, c->max_result_bytes);
	pack_text(pk, "slots");
	msgpack_pack_uint64(pk, c->slots);
	pack_text(pk, "cwd");
	pack_text(pk, c->cwd != NULL ? c->cwd : "");
	pack_text(pk, "nice");
	msgpack_pack_uint64(pk, c->nice);
	pack_text(pk, "oom_score_adj");
	msgpack_pack_uint64(pk, c->oom_score_adj);
	pack_indexed(pk, &c->env);
	pack_limits(pk, c);
	pack_text(pk, "utf8");
	if (c->strings == STRINGS_UTF8)
		msgpack_pack_true(pk);
	else
		msgpack_pack_false(pk);
}

void forkserver_pack_start(msgpack_packer *pk, uint64_t worker_id, unsigned index,
			   const char *cgroup)
{
	msgpack_pack_array(pk, cgroup != NULL ? 4 : 3);
	pack_text(pk, "start");
	msgpack_pack_uint64(pk, worker_id);
	msgpack_pack_uint64(pk, index);
	if (cgroup != NULL)
		pack_text(pk, cgroup);
}

void forkserver_pack_reap(msgpack_packer *pk, int os_pid)
{
	msgpack_pack_array(pk, 2);
	pack_text(pk, "reap");
	msgpack_pack_int64(pk, os_pid);
}

static bool is_text(const msgpack_object *o, const char *text)
{
	return o->type == MSGPACK_OBJECT_STR && o->via.str.size == strlen(text) &&
	       memcmp(o->via.str.ptr, text, o->via.str.size) == 0;
}

static bool is_uint(const msgpack_object *o)
{
	return o->type == MSGPACK_OBJECT_POSITIVE_INTEGER;
}

/* "python 3.11.2, krait 0.1.0" of a map of texts. */
static void versions_text(const msgpack_object *map, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
		const msgpack_object_kv *kv = &map->via.map.ptr[i];

		if (kv->key.type != MSGPACK_OBJECT_STR || kv->val.type != MSGPACK_OBJECT_STR ||
		    len + 1 >= size)
			continue;
		len += (size_t)snprintf(text + len, size - len, "%s%.*s %.*s", i > 0 ? ", " : "",
					(int)kv->key.via.str.size, kv->key.via.str.ptr,
					(int)kv->val.via.str.size, kv->val.via.str.ptr);
	}
}

bool forkserver_take(const struct forkserver_callbacks *cb, void *arg,
		     const msgpack_object_array *packet)
{
	const msgpack_object *e = packet->ptr;
	uint32_t n = packet->size;
	char versions[256];

	if (n == 3 && is_text(&e[0], "ready") && is_uint(&e[1])) {
		versions_text(&e[2], versions, sizeof versions);
		cb->on_ready(arg, (int)e[1].via.u64, versions);
	} else if (n == 2 && is_text(&e[0], "failed") && e[1].type == MSGPACK_OBJECT_STR) {
		cb->on_failed(arg, e[1].via.str.ptr, e[1].via.str.size);
	} else if (n == 3 && is_text(&e[0], "forked") && is_uint(&e[1]) && is_uint(&e[2])) {
		cb->on_forked(arg, e[1].via.u64, (int)e[2].via.u64);
	} else if (n == 3 && is_text(&e[0], "fork_failed") && is_uint(&e[1]) &&
		   e[2].type == MSGPACK_OBJECT_STR) {
		cb->on_fork_failed(arg, e[1].via.u64, e[2].via.str.ptr, e[2].via.str.size);
	} else if (n == 4 && is_text(&e[0], "exited") && is_uint(&e[1]) && is_uint(&e[2]) &&
		   is_uint(&e[3])) {
		cb->on_exited(arg, (int)e[1].via.u64, (int)e[2].via.u64, (int)e[3].via.u64);
	} else {
		return false;
	}
	return true;
}
