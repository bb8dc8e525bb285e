/* A server that has made many processes, which do nothing: brood PORT COUNT. It greets its clients itself. Says "there" once all are made. At SIGTERM it ends them, and
 * itself when none is left; killed otherwise, it takes them with it. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t *made;
static int count;

static void end(int signal)
{
	(void)signal;
	for (int i = 0; i < count; i++)
		kill(made[i], SIGKILL);
	/* Those that end are collected by the kernel; this waits for the last one. */
	while (wait(NULL) > 0 || errno == EINTR)
		;
	_exit(0);
}

int main(int argc, char **argv)
{
	static const char greeting[] = "\x0a\0\0\0\x0a" "5.5.62-x";
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), wanted, one = 1;

	if (argc != 3 || prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
		return 2;
	here.sin_port = htons(atoi(argv[1]));
	wanted = atoi(argv[2]);
	made = calloc(wanted, sizeof *made);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (!made || bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 16) < 0)
		return 3;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGTERM, end);
	while (count < wanted) {
		pid_t parent = getpid(), child = fork();

		if (child < 0)
			end(0);
		if (child == 0) {
			signal(SIGTERM, SIG_DFL);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			while (getppid() == parent)
				pause();
			_exit(0);
		}
		made[count++] = child;
	}
	puts("there");
	fflush(stdout);
	for (;;) {
		int client = accept(listener, NULL, NULL);

		if (client >= 0) {
			(void)!write(client, greeting, sizeof greeting);
			close(client);
		}
	}
}
