/* Runs the ELF image of a program that stores a byte in GPIOR0 and sleeps for ever; exits with that byte, or 200 where it crashed. */
#include <stdio.h>
#include <stdlib.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

int main(int argc, char **argv)
{
    elf_firmware_t firmware = {0};
    if (argc != 3 || elf_read_firmware(argv[2], &firmware)) return 201;
    avr_t *avr = avr_make_mcu_by_name(argv[1]);
    if (!avr) return 202;
    avr_init(avr);
    avr->log = 0;
    firmware.frequency = 16000000;
    avr_load_firmware(avr, &firmware);
    int state = cpu_Running;
    while (state != cpu_Done && state != cpu_Crashed && avr->cycle < 4000000000u) state = avr_run(avr);
    return state == cpu_Done ? avr->data[0x3e] : 200;
}
