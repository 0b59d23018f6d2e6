/* frame.h - the worker wire: a 4-byte big-endian length and one msgpack array.
 *
 * This comment is the specification for both ends (python/krait/_worker.py is the other one).
 * The first element of the array is the frame's type, an integer; the second the call's id, an
 * unsigned 64-bit integer (0 where there is none). Ids are never reused within a node's life.
 *
 * Node to worker:
 *   [1 CALL,  id, module str, function str, args array, kwargs map, meta map|nil]
 *             Answered by exactly one RESULT or ERROR. meta, all of it optional:
 *             "traceparent" str
 *             "session"     [token int, id value]: the call belongs to this session. Tokens are never
 *                           reused: one that the worker does not know is a session that starts
 *             "stream"      int: what the call returns is iterated (OPENED, ITEM ..., then RESULT nil or
 *                           ERROR), and so many items may be sent before the first ASK
 *             "progress"    true: the caller wants to hear PROGRESS
 *             "deadline_ms" int, milliseconds left when it was sent; always the last pair, in the
 *                           5-byte form of an integer, so that it can be written at the last moment
 *   [2 PING,  id]  answered by PONG
 *   [3 INTERRUPT, id]  the call of that id is not wanted any more. With one slot SIGINT follows it at
 *             once, which raises KeyboardInterrupt in the call; read between calls it is late and is
 *             ignored, but a SIGINT that came before the call began, with this frame waiting behind
 *             its CALL, means that call. With more slots there is no signal: that call alone is cancelled
 *   [4 ASK,   id, n int]  so many more items of a stream
 *   [5 CLOSE, id]  close the stream's generator (GeneratorExit in it); then its RESULT or ERROR. For a
 *             stream that has ended it is late and is ignored
 *   [6 BATCH, id, calls array of [module, function, args, kwargs], meta]  one after the other; answered by
 *             one RESULT whose value is an array with one element for each: [true, value], or [false,
 *             kind, ...] as in ERROR. One that fails does not stop those behind it
 *   [7 REPLY, callback id, how str, value]  to a CALLBACK: "ok" and its value; "exit" and the reason;
 *             "timeout" and nil; "refused" and a text: what was wrong with it
 *   [8 END_SESSION, id, token int]  the session ends; answered by PONG when its hooks have run. For a
 *             token that is not known just that
 *   [9 DOWN,  monitor id, reason value]  the process that a "monitor" watches has ended; once
 *   A CALL may also come by the queue of calls that are sent ahead (worker_ahead.h): with no meta but deadline_ms,
 *   and behind a CALL of that kind. Between such a call and its answer the worker looks there once, and never
 *   at another time; what it has taken it says with TAKEN, in front of the answer, and runs next.
 *   End of file: stop. An idle worker ends its sessions, leaves with exit status 0, its atexit handlers
 *             run.
 *   While a call runs nothing comes but INTERRUPT, ASK, CLOSE, REPLY and DOWN; and while it waits for a
 *   REPLY, a further CALL or BATCH (which runs at once, inside: re-entrant), at most 16 deep. With more
 *   slots there are as many calls at a time as there are slots.
 * Worker to node:
 *   [1 HELLO, 0, os_pid int, versions map of str to str]  once, when it can serve
 *   [2 RESULT, id, value]
 *   [3 ERROR, id, kind str, ...]
 *        "python",       type str, module str, message str, traceback str, args array,
 *                        frames array of [module str, function str, file str, line int]: the innermost
 *                        first, 64 at most
 *        "no_function"   the node adds M and F as the caller gave them
 *        "not_allowed"   likewise
 *        "unencodable",  where str, what str    what: a type's name, or a word that begins with ':'
 *                                               and is an atom (":duplicate_key", ":invalid_utf8")
 *        "too_deep",     limit int
 *        "too_large",    bytes int, limit int
 *   [4 PONG, id]
 *   [5 OPENED, id]  the stream's function has returned something to iterate over
 *   [6 ITEM, id, value]
 *   [7 CALLBACK, callback id, call id, kind str, dest, value, timeout_ms int|nil]
 *        "call"          value: the request of a gen_server call to dest; answered by one REPLY
 *        "send"          value: a message to dest; not answered, callback id 0
 *        "rpc"           value: [module, function, args array] for the node that dest names, an atom, or
 *                        nil: the caller's; answered by one REPLY
 *        "monitor"       dest is watched; callback id is the monitor's id; answered by one DOWN
 *        "demonitor"     the monitor of that id is not wanted any more
 *        "cancel"        nobody waits any more for the REPLY to that callback id
 *        dest: a PID; an atom or str: a name on the caller's node; an array or tuple [name, node]; nil
 *        where there is none. Callback ids and monitor ids are the worker's, one counter, never reused.
 *        call id: on behalf of which call; what that waits for or watches ends with it
 *   [8 PROGRESS, id, value]  to the caller of that call
 *   [9 TAKEN, id]  that call was taken from those sent ahead; the RESULT or ERROR of the one before it is
 *                  behind this, in the same write
 *
 * Frames in parts, to the worker only: large binaries (from 256 KiB) follow what speaks of them, so that
 * neither side copies them. After the length field, instead of the array:
 *   0xc1, which begins no msgpack; a byte for the number of parts, 1 to 8; the length of the array in 4 bytes;
 *   the length of each part in 4 bytes; the array, which has a PART for each; zeros up to 64 KiB from the
 *   beginning of the length field, if it is shorter; the parts.
 * So who reads at most 64 KiB from a frame's beginning has nothing yet of a part, and can receive it to where
 * it is to stay.
 *
 * Values are msgpack with these extension types; all else is plain msgpack (nil, bool, int, float64,
 * str, bin, array for a list, map). The payload of an extension:
 *   1 ATOM    the atom's text in UTF-8 (true, false and nil are msgpack's own)
 *   2 TUPLE   a msgpack array of the elements
 *   3 BIGINT  one byte 0 (positive) or 1 (negative), then the magnitude, little-endian, no final
 *             zero byte: integers outside -2^63 .. 2^64-1
 *   4 PID     the external term: NEW_PID_EXT with its node as SMALL_ATOM_UTF8
 *   5 REF     the external term: NEWER_REFERENCE_EXT, node as SMALL_ATOM_UTF8
 *   6 PORT    the external term: V4_PORT_EXT, node as SMALL_ATOM_UTF8
 *   7 EXPORT  the external term, as it came
 *   8 OPAQUE  the external term of a local fun or a bit string, as it came
 *   9 LISTKEY a list that is a key of a map (or inside such a key): a msgpack array
 *  10 MAPKEY  a map that is a key of a map (or inside such a key): a msgpack array k1, v1, k2, v2 ...
 *  11 INPUT   to the worker only: {krait_input, Pid}, itself an argument: the external term of the pid.
 *             An iterator in Python that asks that process for its items
 *  12 STRUCT  a struct of Elixir's that Python has a type for: a msgpack array of its kind, and
 *               1 Date           year, month, day
 *               2 Time           hour, minute, second, microsecond, precision
 *               3 NaiveDateTime  those of 1, those of 2
 *               4 DateTime       those of 3, utc_offset, std_offset, time_zone str, zone_abbr str
 *               5 Decimal        sign, exp, coef: an integer, or the str "NaN" or "inf"
 *               6 MapSet         its version, 2 or 0 for none, then the elements, which are keys
 *             16 is added to the kind of one that is a key of a map, or inside one. What comes from
 *             the node is in the range of the type in Python; other structs are maps
 *  13 TENSOR  {krait_tensor, Dtype, Shape, Binary}, not in a key: a byte for the dtype, its place in s8
 *             s16 s32 s64 u8 u16 u32 u64 f16 f32 f64 c64 c128 bf16, from 1; a byte for the number of
 *             dimensions, at most 32; a byte 1 if the dtype is a binary, not an atom, plus 2 if the shape
 *             is a list, not a tuple; 5 bytes of 0; each dimension in 8 bytes, big-endian; zeros up to a
 *             multiple of 16; the binary
 *  14 PART    to the worker, in frames in parts only: a byte for the index of the part, from 0, and one for what
 *             it is: 0 a bin; 1 a str; 2 the binary of a TENSOR, and its payload up to there follows */
#ifndef KRAIT_FRAME_H
#define KRAIT_FRAME_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_to_worker {
	FRAME_CALL = 1,
	FRAME_PING,
	FRAME_INTERRUPT,
	FRAME_ASK,
	FRAME_CLOSE,
	FRAME_BATCH,
	FRAME_REPLY,
	FRAME_END_SESSION,
	FRAME_DOWN,
};
enum frame_from_worker {
	FRAME_HELLO = 1,
	FRAME_RESULT,
	FRAME_ERROR,
	FRAME_PONG,
	FRAME_OPENED,
	FRAME_ITEM,
	FRAME_CALLBACK,
	FRAME_PROGRESS,
	FRAME_TAKEN,
};

#define FRAME_LENGTH_BYTES 4

enum frame_ext {
	EXT_ATOM = 1,
	EXT_TUPLE,
	EXT_BIGINT,
	EXT_PID,
	EXT_REF,
	EXT_PORT,
	EXT_EXPORT,
	EXT_OPAQUE,
	EXT_LISTKEY,
	EXT_MAPKEY,
	EXT_INPUT,
	EXT_STRUCT,
	EXT_TENSOR,
	EXT_PART,
};
enum frame_part { PART_BIN, PART_STR, PART_TENSOR };

#define FRAME_LENGTH_BYTES 4
#define FRAME_PARTS_MAX    8
#define FRAME_PARTS_AT     (64 * 1024)
#define FRAME_PARTS_HEAD   (FRAME_LENGTH_BYTES + 2 + 4 + 4 * FRAME_PARTS_MAX)

/* Bytes from one worker on their way to frames. */
struct share;
struct frame_reader {
	struct buf in;        /* received, not yet consumed */
	size_t taken;         /* bytes of `in` that frame_next() has handed out */
	size_t max_bytes;     /* longest frame accepted */
	struct share *shared; /* what the last frame lies in, if others own it, too */
};

/* One frame. `rest` are the elements after the id, not parsed, `count` of them; they stay valid until
 * the next frame_room() on the reader. */
struct frame {
	unsigned type;
	uint64_t id;
	uint32_t count;
	const uint8_t *rest;
	size_t rest_len;
};

/* `max_bytes`: longest frame accepted, length field not counted. */
void frame_reader_init(struct frame_reader *r, size_t max_bytes);
void frame_reader_close(struct frame_reader *r);

/* Where to receive to, at least 4 KiB, and more when a long frame is under way (never more than twice
 * what has arrived, plus 64 KiB: a length field alone costs no memory). NULL: no memory. */
uint8_t *frame_room(struct frame_reader *r, size_t *room) __attribute__((warn_unused_result));

/* Says that `n` bytes were received to where frame_room() pointed. */
void frame_received(struct frame_reader *r, size_t n);

/* Takes the next frame. 1: `frame` is set; 0: not complete yet; -EMSGSIZE: announced over `max_bytes`;
 * -EBADMSG: not an array that begins with a type and an id. After an error the stream is lost. */
int frame_next(struct frame_reader *r, struct frame *frame) __attribute__((warn_unused_result));

/* The buffer in which the last frame lies, to be owned by the caller, too: so its bytes stay. It may hold other
 * bytes besides. NULL: no memory. */
struct share *frame_share(struct frame_reader *r) __attribute__((warn_unused_result));

/* Begins a frame of `count` elements after type and id at the end of `out`; returns its offset, to be
 * given to frame_end(), which fills in the length. Failure is sticky in `out->err`. */
size_t frame_begin(struct buf *out, unsigned type, uint64_t id, uint32_t count);
void frame_end(struct buf *out, size_t start);

/* The head of a frame in parts whose array has `text_len` bytes; its length field is 0. */
struct iovec;
void frame_put_parts(struct buf *out, size_t text_len, const struct iovec *part, unsigned count);

/* The msgpack pieces that frames are written with; they append to `out`. */
void frame_put_nil(struct buf *out);
void frame_put_bool(struct buf *out, bool value);
void frame_put_uint(struct buf *out, uint64_t value);
void frame_put_str(struct buf *out, const void *text, size_t len);
void frame_put_array(struct buf *out, uint32_t count);
void frame_put_map(struct buf *out, uint32_t pairs);

/* Readers for the simple elements of a frame: each reads one element at *at (before `end`), moves *at
 * past it and returns true; false when it is something else or cut off, *at unmoved. */
bool frame_get_uint(const uint8_t **at, const uint8_t *end, uint64_t *value);
bool frame_get_str(const uint8_t **at, const uint8_t *end, const char **text, size_t *len);
bool frame_get_map(const uint8_t **at, const uint8_t *end, uint32_t *pairs);
bool frame_get_array(const uint8_t **at, const uint8_t *end, uint32_t *count);
bool frame_get_bool(const uint8_t **at, const uint8_t *end, bool *value);

/* Moves *at past one value, whatever it is; false when it is cut off or no msgpack, *at unmoved. Extensions
 * are not looked into. Time O(its bytes), memory O(1). */
bool frame_skip(const uint8_t **at, const uint8_t *end);

#endif
