/* doctor.h - `krait doctor`: looks for what would keep a node with these options from serving. */
#ifndef KRAIT_DOCTOR_H
#define KRAIT_DOCTOR_H

/* The whole program, with the arguments after `doctor`'s program name: [--json] [--no-call] [OPTION...]. Prints
 * one line for each thing looked at, and blocks while it looks. Returns the exit status: 0 nothing keeps the
 * node from serving, 1 something does. */
int doctor_main(int argc, char **argv);

#endif
