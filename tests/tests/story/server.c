/* A server behind libwrap that can be told to become another program, or rather itself again with other arguments: its pid stays, and nothing
 * else. Accepts, checks, greets, one client after another, as mysqld does.
 *
 * server PORT FD TABLE [PORT FD TABLE]...: listens on PORT of the loopback at descriptor FD, with TABLE as its hosts.allow; at a SIGUSR1
 * it goes on with the next three arguments. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <tcpd.h>
#include <unistd.h>

int allow_severity = LOG_INFO, deny_severity = LOG_WARNING;

static const char greeting[] = "\x14\0\0\0\x0a" "8.0.36\0" "\x07\0\0\0" "saltsalt";

static void nothing(int signal)
{
	(void) signal;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sigaction interrupts = { .sa_handler = nothing };
	int listener, at, yes = 1;

	if (argc < 4)
		return 2;
	sigaction(SIGUSR1, &interrupts, NULL);
	address.sin_port = htons(atoi(argv[1]));
	at = atoi(argv[2]);
	hosts_allow_table = argv[3];
	hosts_deny_table = "/nonexistent";
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (dup3(listener, at, O_CLOEXEC) != at)
		return 3;
	close(listener);
	setsockopt(at, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(at, (struct sockaddr *) &address, sizeof address) || listen(at, 7))
		return 1;
	for (;;) {
		struct request_info request;
		socklen_t length = sizeof address;
		int client = accept(at, (struct sockaddr *) &address, &length);
		if (client < 0 && argc >= 7) {
			/* The arguments that are done with go. */
			memmove(argv + 1, argv + 4, (argc - 3) * sizeof *argv);
			execv("/proc/self/exe", argv);
			return 4;
		}
		if (client < 0)
			return 5;
		request_init(&request, RQ_DAEMON, "server", RQ_FILE, client, 0);
		fromhost(&request);
		if (hosts_access(&request) && write(client, greeting, sizeof greeting - 1) < 0)
			return 6;
		close(client);
	}
}
