/* What a firmware tells a simulator, by LEVSHA_MARK(code) where one listens; see the target's definition of it. */
#ifndef LEVSHA_MARK_H
#define LEVSHA_MARK_H
#define MARK_READY 0x01    /* waits for a line */
#define MARK_STARTS 0x10   /* + k: stage k of the net starts */
#define MARK_ENDS 0x20     /* + k: stage k has ended */
#define MARK_DONE 0xff     /* the end */
#endif
