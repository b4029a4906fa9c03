/* systemd's protocol of readiness and watchdog. */
#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H

/* Opened while the socket can still be seen; nothing where nobody waits to be told. */
void cmd_notify_open(void);
void cmd_notify(const char *state);
int cmd_watchdog_ms(void); /* how often to tell; -1: nobody asks */
#endif
