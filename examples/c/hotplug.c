/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A vif script: what libxl runs when a guest's vif appears or goes.
 *
 *   cc hotplug.c $(pkg-config --cflags --libs xennet) -o vif-bridge
 *
 * Put it into /etc/xen/scripts, also as vif-nat and vif-route: it does the work of the script whose name it is called by.
 */
#include <xennet.h>

int main(int argc, char **argv, char **envp)
{
    return xennet_hotplug(argc, argv, envp);
}
